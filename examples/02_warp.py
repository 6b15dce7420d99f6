"""Bend and twist a capsule by three bones: dual quaternions against linear blending.

    python examples/02_warp.py --out=runs/examples

Both blends take the same weights and the same rigid motions. Where a joint twists, the
mean of two matrices is no rotation: the linear blend loses volume there, the blend of
dual quaternions does not. The picture shows rest, dual quaternions, linear.

The way back: the backward warp takes its weights among the posed bones and comes near,
its refinement comes to the very point that the forward warp started from.
"""

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from skimage.measure import marching_cubes

sys.path.insert(0, str(Path(__file__).parents[1]))  # from a checkout, anywhere

import adreamer_jax as ad
from adreamer_jax.run.mesh_picture import mesh_pictures

words = argparse.ArgumentParser(description="Dual quaternions against linear blending.")
words.add_argument("--out", type=Path, default=Path("runs/examples"))
words.add_argument("--size", type=int, default=240, help="pixels of one picture")
words = words.parse_args()


def turn_about(pivot, vector):
    """Rigid motion by a rotation vector about a point."""
    pivot, turn = jnp.array(pivot), ad.rotation.from_vector(jnp.array(vector))
    return ad.Rigid(turn, pivot - ad.rotation.rotate(turn, pivot))


def volume(vertices):
    """Volume inside of the mesh."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float(np.abs(np.sum(a * np.cross(b, c))) / 6.0)


# a capsule along x, radius 0.18
axis = np.linspace(-1.2, 1.2, 73)
x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
distance = np.sqrt(np.maximum(np.abs(x) - 0.8, 0) ** 2 + y**2 + z**2) - 0.18
rest, faces, _, _ = marching_cubes(distance, 0.0, spacing=(2.4 / 72,) * 3)
rest = (rest - 1.2).astype(np.float32)

# three bones; the middle stays, one end bends by 80 degrees, the other twists by 160
centers = jnp.array([[-0.6, 0.0, 0.0], [0.0, 0.0, 0.0], [0.6, 0.0, 0.0]])
bones = ad.init_bones(
    jax.random.key(0), ad.BonesSpec(count=3), center=centers, scale=jnp.full(3, 0.35),
)  # fmt: skip
bend = turn_about([-0.3, 0.0, 0.0], [0.0, 0.0, -1.4])
still = turn_about([0.0, 0.0, 0.0], [0.0, 0.0, 0.0])
twist = turn_about([0.3, 0.0, 0.0], [2.8, 0.0, 0.0])
motion = jax.tree.map(lambda *m: jnp.stack(m)[None], bend, still, twist)

shapes = {"rest": rest}
for name, blend in (("dual", ad.dual_blend), ("linear", ad.linear_blend)):
    posed, weights, _ = ad.to_posed(
        bones, motion, jnp.asarray(rest)[None], blend=blend, with_delta=False
    )
    shapes[name] = np.asarray(posed[0])

there = jnp.asarray(shapes["dual"])[None]
near, _, _ = ad.to_rest(bones, motion, there, with_delta=False)
exact, _ = ad.preimage(bones, motion, there, near, steps=4, with_delta=False)
for name, back in (("backward warp", near), ("preimage", exact)):
    off = np.linalg.norm(np.asarray(back[0]) - rest, axis=-1)
    print(f"{name:13s}  misses rest by {off.mean():.4f}, at most {off.max():.3f}")

sheet = []
for name, vertices in shapes.items():
    print(f"{name:6s}  volume {volume(vertices) / volume(rest):.3f} of that at rest")
    seen = vertices * [1, -1, -1] + [0.0, 0.0, 3.0]  # by a camera on +z
    lens = np.array([1.5, 1.5, 0.5, 0.5]) * words.size
    colors = np.asarray(weights[0])  # red, green, blue: the three bones
    sheet += mesh_pictures(seen, faces, [colors], lens, (words.size, words.size))
words.out.mkdir(parents=True, exist_ok=True)
Image.fromarray(np.concatenate(sheet, axis=1)).save(words.out / "02_warp.png")
print(words.out / "02_warp.png")
