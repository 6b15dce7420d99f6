"""Adam with one learning-rate curve for each group of parameters.

Groups are named by a function of the parameter's path; a group without a rate stays
constant. A rate of zero also keeps the group's moments empty, so that a group that
starts later starts fresh. `finite_update` is the one place that decides whether a step
counts.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from adreamer_jax.types import Array, Bool, Float, Params


def path_name(path) -> str:
    """A leaf's path as words joined by slashes, e.g. "field/sdf/0/weight"."""
    words = [
        str(getattr(p, "name", getattr(p, "key", getattr(p, "idx", p)))) for p in path
    ]
    return "/".join(words)


def group_tree(params: Params, group_of: Callable[[str], str]) -> Params:
    """The group's name at every leaf."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: group_of(path_name(path)), params
    )


def grouped_adam(
    rates: Callable[[Float[Array, ""]], Mapping[str, Float[Array, ""]]],
    group_of: Callable[[str], str],
    *,
    clip: float,
    b1: float = 0.9,
    b2: float = 0.99,
    eps: float = 1e-15,
    weight_decay: Mapping[str, float] | None = None,
) -> optax.GradientTransformation:
    """Clipped Adam whose step for each group is its rate at the current step.

    ``rates(step)`` maps group to learning rate. ``weight_decay`` is decoupled (AdamW).
    """
    decay = dict(weight_decay or {})

    def gate() -> optax.GradientTransformation:
        def update(updates, state, params=None):
            rate = rates(state)

            def one(path, g):
                r = rate.get(group_of(path_name(path)), 0.0)
                return jnp.where(jnp.asarray(r) > 0, g, 0.0)

            return jax.tree_util.tree_map_with_path(one, updates), state + 1

        return optax.GradientTransformation(
            lambda params: jnp.zeros((), jnp.int32), update
        )

    def scale() -> optax.GradientTransformation:
        def update(updates, state, params=None):
            rate = rates(state)

            def one(path, u, p):
                group = group_of(path_name(path))
                return -rate.get(group, 0.0) * (u + decay.get(group, 0.0) * p)

            scaled = jax.tree_util.tree_map_with_path(one, updates, params)
            return scaled, state + 1

        return optax.GradientTransformation(
            lambda params: jnp.zeros((), jnp.int32), update
        )

    return optax.chain(
        gate(),
        optax.clip_by_global_norm(clip),
        optax.scale_by_adam(b1=b1, b2=b2, eps=eps),
        scale(),
    )


def finite_update(
    optimizer: optax.GradientTransformation,
    params: Params,
    opt_state: Params,
    grads: Params,
    loss: Float[Array, ""],
) -> tuple[Params, Params, Bool[Array, ""]]:
    """Parameters and optimizer's state after a step, and whether it counts.

    Where the loss or a gradient is not finite, both are returned as they were.
    """
    finite = jnp.isfinite(loss)
    for leaf in jax.tree.leaves(grads):
        finite = finite & jnp.all(jnp.isfinite(leaf))
    updates, moved = optimizer.update(grads, opt_state, params)
    new = (optax.apply_updates(params, updates), moved)
    keep = lambda a, b: jnp.where(finite, a, b)
    params, opt_state = jax.tree.map(keep, new, (params, opt_state))
    return params, opt_state, finite
