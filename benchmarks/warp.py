"""The bone warp: skinning as matrix products against the direct formula, and torch.

    python benchmarks/warp.py --points=65536

Weights by the Mahalanobis softmax, then blended motions; forward plus the gradient in
points, bone poses and scales. Also prints the largest error of a logit against float64.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # from a checkout, anywhere

from adreamer_jax.core import rigid, rotation
from adreamer_jax.scene.skinning import mahalanobis
from adreamer_jax.scene.warp import dual_blend, linear_blend
from adreamer_jax.types import Rigid
from benchmarks.timing import cpu_ms, table, torch_or_none


def direct_distance(pose, log_scale, points):
    """Every point in every bone's frame, scaled and squared."""
    local = points[:, None] - pose.translation
    turned = rotation.rotate(rotation.conjugate(pose.rotation), local)
    return jnp.sum((turned * jnp.exp(-log_scale)) ** 2, axis=-1)


def direct_blend(motion, weights, points):
    """The weighted mean of every point moved by every bone."""
    moved = rigid.apply(motion, points[:, None])
    return jnp.sum(weights[..., None] * moved, axis=1)


def warp(distance, blend, pose, log_scale, motion, points):
    """Points moved under softmax weights."""
    weights = jax.nn.softmax(-distance(pose, log_scale, points), axis=-1)
    return blend(motion, weights, points)


FORMS = {
    "matrix products, dual quaternions": (mahalanobis, dual_blend),
    "matrix products, linear": (mahalanobis, linear_blend),
    "direct, linear": (direct_distance, direct_blend),
}


def torch_direct(torch, pose, log_scale, motion, points):
    """The direct formula in torch, forward and gradient."""
    tensor = lambda x: torch.tensor(np.asarray(x), requires_grad=True)
    turn = tensor(rotation.to_matrix(pose.rotation))
    center, sizes, where = (tensor(v) for v in (pose.translation, log_scale, points))
    matrix = tensor(rigid.to_matrix(motion)[:, :3])

    def gradient():
        local = torch.einsum("bij,nbi->nbj", turn, where[:, None] - center)
        logit = -((local * torch.exp(-sizes)) ** 2).sum(-1)
        moved = torch.einsum("bij,nj->nbi", matrix[..., :3], where) + matrix[..., 3]
        out = (torch.softmax(logit, -1)[..., None] * moved).sum(1)
        return torch.autograd.grad((out**2).sum(), (turn, center, sizes, where, matrix))

    return gradient


def logit_error(pose, log_scale, points):
    """Largest error of the matrix form where it decides (distance below 50)."""
    ours = np.asarray(mahalanobis(pose, log_scale, points), np.float64)
    with jax.enable_x64(True):
        wide = jax.tree.map(
            lambda x: jnp.asarray(np.asarray(x, np.float64)), (pose, log_scale, points)
        )
        truth = np.asarray(direct_distance(*wide))
    return np.abs(ours - truth)[truth < 50].max()


def main():
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--points", type=int, default=65_536)
    words.add_argument("--bones", type=int, default=25)
    words.add_argument("--repeats", type=int, default=5)
    words = words.parse_args()
    keys = jax.random.split(jax.random.key(0), 4)
    draw = lambda k, *shape: jax.random.normal(k, shape)
    count = words.bones
    pose = Rigid(
        rotation.normalize(draw(keys[0], count, 4)), 0.4 * draw(keys[1], count, 3)
    )
    small = rotation.from_vector(0.3 * draw(keys[2], count, 3))
    motion = Rigid(small, 0.1 * draw(keys[3], count, 3))
    log_scale = jnp.full((count, 3), jnp.log(0.15))
    points = jax.random.uniform(keys[0], (words.points, 3), minval=-1.0, maxval=1.0)
    data = (pose, log_scale, motion, points)
    contests = {}
    for name, form in FORMS.items():
        energy = lambda *a, form=form: jnp.sum(warp(*form, *a) ** 2)
        contests[name] = partial(jax.jit(jax.grad(energy, (0, 1, 2, 3))), *data)
    torch = torch_or_none()
    if torch is not None:
        contests["torch: direct, linear"] = torch_direct(torch, *data)
    times = cpu_ms(contests, repeats=words.repeats)
    first = next(iter(times.values()))
    print(f"{words.points} points, {count} bones, forward and gradient")
    rows = [[name, ms, ms / first] for name, ms in times.items()]
    print(table(["form", "CPU ms", "over the first"], rows))
    print(f"largest logit error {logit_error(pose, log_scale, points):.2g}")


if __name__ == "__main__":
    main()
