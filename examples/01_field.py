"""Fit the canonical field to a known shape and take a mesh out of it.

    python examples/01_field.py --out=runs/examples --steps=300

The field starts as an ellipsoid. Random points of the cube tell it the distance to a
ring, so a hole must open; the eikonal term keeps the slope at one between them. The
mesh is the zero set, and since the ring is known its errors are, too.
"""

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from skimage.measure import marching_cubes

sys.path.insert(0, str(Path(__file__).parents[1]))  # from a checkout, anywhere

import adreamer_jax as ad
from adreamer_jax.run.ply import write_ply

words = argparse.ArgumentParser(description="Fit the field to a ring.")
words.add_argument("--out", type=Path, default=Path("runs/examples"))
words.add_argument("--steps", type=int, default=300)
words = words.parse_args()


def ring(points):
    """Signed distance to a torus about the y axis, radii 0.55 and 0.2."""
    around = jnp.linalg.norm(points[..., ::2], axis=-1) - 0.55
    return jnp.hypot(around, points[..., 1]) - 0.2


def loss(field, points):
    """Distance as told, slope of one."""
    distance, slope = ad.distance_with_normal(field, points)
    told = jnp.mean(jnp.abs(distance - ring(points)))
    return told + 0.02 * ad.regularize.eikonal_loss(slope)


@jax.jit
def step(field, state, key):
    """One step of Adam on fresh random points."""
    points = jax.random.uniform(key, (4096, 3), minval=-1.0, maxval=1.0)
    value, gradient = jax.value_and_grad(loss)(field, points)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(field, updates), state, value


grid = ad.GridSpec(levels=6, log2_slots=13, features=2, finest=64)
field = ad.init_field(
    jax.random.key(0), ad.FieldSpec(grid=grid, symmetric=False),
    center=jnp.zeros(3), axes=jnp.eye(3), radii=jnp.array([0.7, 0.3, 0.7]),
    side=jnp.array([1.0, 0.0, 0.0]), beta=0.05,
)  # fmt: skip
optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, words.steps))
state = optimizer.init(field)
for i in range(words.steps):
    field, state, value = step(field, state, jax.random.key(i))
    if i % 50 == 0 or i == words.steps - 1:
        print(f"step {i:4d}  loss {value:.4f}")

axis = jnp.linspace(-1.0, 1.0, 65)
points = jnp.stack(jnp.meshgrid(axis, axis, axis, indexing="ij"), -1)
values = jax.jit(ad.signed_distance)(field, points.reshape(-1, 3))
volume = np.array(values).reshape(points.shape[:3])
vertices, faces, _, _ = marching_cubes(volume, 0.0, spacing=(2 / 64,) * 3)
vertices = (vertices - 1.0).astype(np.float32)
error = np.abs(ring(vertices))
print(f"surface error: mean {error.mean():.4f}, largest {error.max():.4f}")
print(f"Euler number {len(vertices) - len(faces) // 2} (a ring has 0, a ball 2)")
print(write_ply(words.out / "01_field.ply", vertices, faces))
