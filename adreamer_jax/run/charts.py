"""Curves and matrices as inline SVG, for a page without any library.

Coordinates are SVG units of a 240 x 96 picture; the page scales it.
"""

import html
import math
from collections.abc import Sequence

import numpy as np

from adreamer_jax.types import Bool, Float

__all__ = ["bond_matrix", "chart", "smoothed", "tick_text"]

_WIDTH, _HEIGHT = 240, 96
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 4, 6, 14

Curve = tuple[Sequence[float], Sequence[float]]  # steps and values


def tick_text(value: float) -> str:
    """A number as short as a chart needs it."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def smoothed(
    values: Float[np.ndarray, "n"], *, share: float = 0.04
) -> Float[np.ndarray, "n"]:
    """Running mean with a window of a share of the curve, shorter at the ends."""
    half = max(0, round(share * len(values) / 2))
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def chart(name: str, curves: Sequence[Curve], *, most: int = 240) -> str:
    """One small chart: raw values faint, their running mean strong, a class a curve.

    The scale is logarithmic where all values are positive and span more than a decade.
    """
    drawn = [c for c in map(_finite, curves) if len(c[0])]
    if not drawn:
        return ""
    everything = np.concatenate([values for _, values in drawn])
    low, high = float(everything.min()), float(everything.max())
    log = low > 0 and high > 10 * low
    scale = np.log10 if log else np.asarray
    bottom, top = (float(scale(np.array(v))) for v in (low, high))
    top = top if top > bottom else bottom + 1.0
    last = max(float(steps[-1]) for steps, _ in drawn)

    def points(steps: np.ndarray, values: np.ndarray) -> str:
        keep = np.unique(
            np.linspace(0, len(steps) - 1, min(most, len(steps))).astype(int)
        )
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * steps[keep] / max(last, 1.0)
        share = (scale(values[keep]) - bottom) / (top - bottom)
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))

    lines = []
    for i, (steps, values) in enumerate(drawn):
        mean = np.clip(smoothed(values), low, high)
        lines.append(f'<polyline class="raw s{i}" points="{points(steps, values)}"/>')
        lines.append(f'<polyline class="line s{i}" points="{points(steps, mean)}"/>')
    final = ", ".join(tick_text(float(smoothed(v)[-1])) for _, v in drawn)
    frame = _frame(low, high, last, "log" if log else "")
    label = html.escape(f"{name}: {final} at the end")
    return (
        f'<div class="card chart"><h4>{html.escape(name)}<span>{final}</span></h4>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        f"{frame}{''.join(lines)}</svg></div>"
    )


def _finite(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    steps, values = (np.asarray(part, np.float64) for part in curve)
    good = np.isfinite(values)
    return steps[good], values[good]


def _frame(low: float, high: float, last: float, note: str) -> str:
    floor, end = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    text = (
        (_LEFT - 4, _TOP + 7, "end", tick_text(high)),
        (_LEFT - 4, floor, "end", tick_text(low)),
        (_LEFT, _HEIGHT - 3, "start", "0"),
        (end, _HEIGHT - 3, "end", f"{last:,.0f}"),
        ((_LEFT + end) / 2, _HEIGHT - 3, "middle", note),
    )
    axis = f'<path class="axis" fill="none" d="M{_LEFT} {_TOP}V{floor}H{end}"/>'
    return axis + "".join(
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{word}</text>'
        for x, y, anchor, word in text
        if word
    )


def bond_matrix(
    strength: Float[np.ndarray, "bones bones"],
    linked: Bool[np.ndarray, "bones bones"],
    names: Sequence[str],
) -> str:
    """Connection strengths as squares by area; the tree's links are outlined."""
    count, cells = len(strength), []
    for j, k in zip(*np.nonzero((strength > 0.01) | linked), strict=True):
        side = 0.9 * math.sqrt(float(strength[j, k]))
        title = html.escape(f"{names[j]} and {names[k]}: {strength[j, k]:.2f}")
        corner = f'x="{k + 0.5 - side / 2:.2f}" y="{j + 0.5 - side / 2:.2f}"'
        cells.append(
            f'<rect {corner} width="{side:.2f}" height="{side:.2f}" rx="0.1">'
            f"<title>{title}</title></rect>"
        )
        if linked[j, k]:
            cells.append(
                f'<rect class="tree" x="{k + 0.04}" y="{j + 0.04}" width="0.92" '
                'height="0.92" rx="0.2"/>'
            )
    return (
        f'<svg viewBox="0 0 {count} {count}" role="img" '
        f'aria-label="connection strengths of {count} bones">{"".join(cells)}</svg>'
    )
