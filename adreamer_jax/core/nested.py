"""Nested dictionaries of plain values, as recipes are; nothing here imports jax."""

from typing import Any


def laid_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The first with the leaves of the second over its own; neither is changed."""
    out = dict(base)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(out.get(name), dict)
        out[name] = laid_over(out[name], value) if both else value
    return out
