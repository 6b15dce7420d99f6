"""Paint a bent ellipsoid from one picture, through the warp, a chunk of rays at a time.

    python examples/03_render.py --out=runs/examples --steps=40

Samples in posed space are carried back to rest and asked for density and color there;
empty space is left out before. The gradient on the finished picture goes back by
deferred back-propagation: each chunk is rendered again, so one fits into memory.
"""

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # from a checkout, anywhere

import adreamer_jax as ad

words = argparse.ArgumentParser(description="Paint through a warp.")
words.add_argument("--out", type=Path, default=Path("runs/examples"))
words.add_argument("--steps", type=int, default=40)
words.add_argument("--size", type=int, default=64, help="pixels along a side")
words = words.parse_args()
key, chunk, size = jax.random.key(0), 512, (words.size, words.size)
room = {"count": 48, "capacity": chunk * 48 // 3}  # samples a ray, and slots a chunk

grid = ad.GridSpec(levels=6, log2_slots=12, features=2, finest=64)
field = ad.init_field(
    key, ad.FieldSpec(grid=grid), center=jnp.zeros(3), axes=jnp.eye(3), beta=0.02,
    radii=jnp.array([0.8, 0.3, 0.3]), side=jnp.array([0.0, 0.0, 1.0]),
)  # fmt: skip
bones = ad.init_bones(
    key, ad.BonesSpec(count=2), center=jnp.array([[-0.45, 0, 0], [0.45, 0, 0]]),
    scale=jnp.full(2, 0.4),
)  # fmt: skip
turn = ad.rotation.from_vector(jnp.array([[[0.0, 0.0, -0.5], [0.0, 0.0, 0.5]]]))
motion = ad.Rigid(turn, jnp.zeros((1, 2, 3)))
camera = ad.orbit(*jnp.array([0.3, 0.2, 2.4, 0.7]), size=size)
rays = ad.camera_rays(camera, ad.pixel_centers(size))
rays = ad.clip_to_box(rays, jnp.array([[-1.2] * 3, [1.2] * 3]))
stripe = (ad.pixel_centers(size)[:, :1] * 8 / size[1]).astype(jnp.int32) % 2
target = jnp.where(stripe == 1, jnp.array([0.9, 0.5, 0.1]), jnp.array([0.1, 0.2, 0.5]))


def render(field, rays):
    """Premultiplied color and mask of a chunk of rays."""
    rest = lambda p: ad.to_rest(bones, motion, p, with_delta=False)[0].reshape(-1, 3)
    near = lambda p: (ad.signed_distance(field, rest(p)) < 0.08).reshape(p.shape[:2])

    def sample(points):
        found = ad.query(field, rest(points))
        density = ad.density(field, found.sdf, jnp.exp(field.log_beta))
        density = jax.lax.stop_gradient(density.reshape(points.shape[:2]))  # paint only
        return density, found.color.reshape(points.shape), None

    frame = jax.tree.map(lambda x: x[None], rays)
    out = ad.render_rays(near, sample, frame, **room)
    return {"color": out.channels[0], "mask": out.mask[0]}


@jax.jit
def step(field, state):
    """Render, compare, push the picture's gradient back, paint."""
    seen = ad.map_chunks(lambda r: render(field, r), rays, chunk=chunk)
    error = seen["color"] - seen["mask"][:, None] * target
    pull = {"color": error, "mask": jnp.zeros_like(seen["mask"])}
    gradient = ad.deferred_gradient(render, field, rays, pull, chunk=chunk)
    updates, state = optimizer.update(gradient, state)
    white = (seen["color"] + 1 - seen["mask"][:, None]).reshape(*size, 3)
    return optax.apply_updates(field, updates), state, white, jnp.mean(error**2)


optimizer = optax.adam(1e-2)
state, sheet = optimizer.init(field), []
for i in range(words.steps + 1):
    field, state, picture, value = step(field, state)
    if i in (0, words.steps):
        print(f"step {i:3d}  mean squared error {value:.5f}")
        sheet.append((255 * np.asarray(picture).clip(0, 1)).astype(np.uint8))
words.out.mkdir(parents=True, exist_ok=True)
Image.fromarray(np.concatenate(sheet, axis=1)).save(words.out / "03_render.png")
print(words.out / "03_render.png")
