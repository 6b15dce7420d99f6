"""Memory of the gradient of a picture: direct against deferred back-propagation.

    python benchmarks/renderer.py --sizes 64 128 200

Nothing is run: the figures are what XLA plans for temporaries, which is deterministic.
Four views of a hash-grid field behind a warp of 25 bones, 64 samples a ray; with and
without leaving out empty space (a quarter of the samples has room).
"""

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

sys.path.insert(0, str(Path(__file__).parents[1]))  # from a checkout, anywhere

from adreamer_jax.core import rigid
from adreamer_jax.core.hashgrid import GridSpec
from adreamer_jax.render.chunked import deferred_gradient
from adreamer_jax.render.volume import render
from adreamer_jax.scene.bones import BonesSpec, init_bones
from adreamer_jax.scene.field import FieldSpec, density, init_field, query
from adreamer_jax.scene.warp import to_rest
from adreamer_jax.types import Rays
from benchmarks.timing import table

VIEWS, SAMPLES, BONES = 4, 64, 25


def scene(key):
    """Field and bones of the size that a laptop trains."""
    grid = GridSpec(levels=8, log2_slots=14, features=2, finest=128)
    field = init_field(
        key, FieldSpec(grid=grid, width=64), center=jnp.zeros(3), axes=jnp.eye(3),
        radii=jnp.full(3, 0.6), side=jnp.array([1.0, 0.0, 0.0]), beta=0.05,
    )  # fmt: skip
    centers = jax.random.uniform(key, (BONES, 3), minval=-0.5, maxval=0.5)
    spec = BonesSpec(count=BONES)
    scale = jnp.full(BONES, 0.2)
    bones = init_bones(key, spec, center=centers, scale=scale)
    return field, bones


def picture(params, rays, share):
    """Color and mask of rays; ``share`` of the samples has room."""
    field, bones = params
    frame = jax.tree.map(lambda x: x[None], rays)
    still = rigid.identity((1, BONES))

    def occupied(points):
        return jnp.linalg.norm(points, axis=-1) < 0.7

    def sample(points):
        rest, _, _ = to_rest(bones, still, points, with_delta=False)
        found = query(field, rest.reshape(-1, 3))
        thick = density(field, found.sdf, jnp.exp(field.log_beta))
        return thick.reshape(points.shape[:2]), found.color.reshape(points.shape), None

    capacity = int(share * rays.near.shape[0] * SAMPLES)
    out = render(occupied, sample, frame, count=SAMPLES, capacity=capacity)
    return {"color": out.channels[0], "mask": out.mask[0]}


def temporaries(params, side, share, chunk=None):
    """Bytes that XLA plans beside arguments and results for the gradient."""
    count = VIEWS * side * side
    number = lambda *shape: jax.ShapeDtypeStruct((count, *shape), jnp.float32)
    rays = Rays(number(3), number(3), number(), number())
    cotangent = {"color": number(3), "mask": number()}

    def direct(params, rays, cotangent):
        _, pull = jax.vjp(lambda p: picture(p, rays, share), params)
        return pull(cotangent)[0]

    def deferred(params, rays, cotangent):
        draw = lambda p, r: picture(p, r, share)
        return deferred_gradient(draw, params, rays, cotangent, chunk=chunk)

    step = jax.jit(deferred if chunk else direct)
    memory = step.lower(params, rays, cotangent).compile().memory_analysis()
    return memory.temp_size_in_bytes


def main():
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 200])
    words.add_argument("--chunk", type=int, default=4096)
    words = words.parse_args()
    params = jax.eval_shape(scene, jax.random.key(0))
    rows = []
    for side in words.sizes:
        row = [f"{VIEWS} x {side} x {side}"]
        for share in (1.0, 0.25):
            for chunk in (None, words.chunk):
                row.append(f"{temporaries(params, side, share, chunk) / 2**20:.0f}")
        rows.append(row)
    head = ["rays", "direct", "deferred", "direct, compact", "deferred, compact"]
    print(f"MiB of temporaries, {SAMPLES} samples a ray, chunks of {words.chunk} rays")
    print(table(head, rows))


if __name__ == "__main__":
    main()
