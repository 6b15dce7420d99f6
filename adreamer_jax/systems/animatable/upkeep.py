"""What is refreshed now and then and not learned: occupancy, bounds, fresh bones.

Occupancy says which cells of rest space are worth evaluating: those near the surface,
and during growth also those inside the carved masks, since a limb that has vanished
leaves no density from which a gradient could flow. The box of each frame bounds its
rays; novel cameras use the same boxes, never a near and far of the clip's own cameras.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from adreamer_jax.core.camera import facing, project
from adreamer_jax.core.encoding import frame_time
from adreamer_jax.scene.bones import posed_from_rest
from adreamer_jax.scene.field import signed_distance
from adreamer_jax.scene.pose import clip_cameras
from adreamer_jax.systems.animatable.model import Model, carry, moment
from adreamer_jax.types import Array, Bool, Float

SEED_CELLS = 48  # a side, of the grid that bones are spread in
AIM_CELLS = 48  # a side, of the grid that finds the object's balls
MARGIN = 0.05  # of the boxes, in field space
_NO_BALL = (0.0, 0.0, 0.0, 1.0)  # where there is nothing to aim at


def fresh_upkeep(config: Any, frames: int) -> dict[str, Array]:
    """Everything is worth evaluating, and the box is the cube."""
    cells = config.render.occupancy_cells
    cube = jnp.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    return {
        "occupancy": jnp.ones((cells,) * 3, bool),
        "box": jnp.broadcast_to(cube, (frames, 2, 3)),
        "skipped": jnp.zeros((), jnp.int32),
    }


def grid_points(cells: int) -> Float[Array, "n 3"]:
    """Centers of the cells of the cube, x slowest."""
    axis = (jnp.arange(cells) + 0.5) / cells * 2.0 - 1.0
    return jnp.stack(jnp.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)


def hull_share(
    model: Model, frozen: dict, points: Float[Array, "n 3"]
) -> Float[Array, "n"]:
    """Share of frames whose mask covers each rest point, bones at rest."""
    count, height, width = frozen["masks"].shape
    cameras = clip_cameras(model.pose, jnp.arange(count), size=(height, width))

    def one(camera, mask):
        pixels, _ = project(camera, points)
        x, y = pixels[:, 0].astype(jnp.int32), pixels[:, 1].astype(jnp.int32)
        inside = (pixels[:, 0] >= 0) & (x < width) & (pixels[:, 1] >= 0) & (y < height)
        value = mask[jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1)]
        return jnp.where(inside, value > 127, False)

    hits = jax.lax.map(lambda cm: one(*cm), (cameras, frozen["masks"]))
    return jnp.mean(hits.astype(jnp.float32), axis=0)


def refresh(
    config: Any, model: Model, frozen: dict, step: Array
) -> tuple[Array, Array]:
    """Occupancy of rest space and the box of every frame, from the present model."""
    now = moment(config, model, step)
    cells = config.render.occupancy_cells
    points = grid_points(cells)
    sdf = signed_distance(model.field, points, detail=now.detail)
    # half a cell's diagonal: no point of a cell is farther from its center
    band = config.render.occupancy_band + config.render.occupancy_margin * now.beta
    near = sdf < 3.0**0.5 / cells + band
    growing = now.progress < config.render.grow_until
    hull = hull_share(model, frozen, points) > config.render.grow_share
    reach = sdf < config.render.grow_reach
    near = near | (hull & reach & growing)
    grid = near.reshape((cells,) * 3)
    return grid, posed_boxes(config, model, near, points, frozen["masks"].shape[0])


def boundary(grid: Bool[Array, "n n n"]) -> Bool[Array, "n n n"]:
    """True cells of which one of the six neighbors is false or outside."""
    inner = grid
    for axis in range(3):
        for shift in (-1, 1):
            padded = jnp.pad(grid, [(1, 1) if a == axis else (0, 0) for a in range(3)])
            start = 1 + shift
            inner &= jax.lax.slice_in_dim(
                padded, start, start + grid.shape[axis], axis=axis
            )
    return grid & ~inner


def posed_boxes(
    config: Any,
    model: Model,
    near: Bool[Array, "n"],
    points: Float[Array, "n 3"],
    count: int,
) -> Float[Array, "t 2 3"]:
    """Box of the occupied cells carried to every frame, with a margin."""

    def box(posed: Array, valid: Array) -> Array:
        low, high = extent(posed, valid)
        return jnp.stack([low - MARGIN, high + MARGIN])

    boxes = over_frames(config, model, near, points, count, box)
    whole = jnp.array([[-1.2] * 3, [1.2] * 3])
    return jnp.where(jnp.all(jnp.isfinite(boxes)), boxes, whole)


def aims(
    config: Any,
    model: Model,
    step: Array,
    count: int,
    front: Float[Array, ""] | None = None,
) -> dict[str, Array]:
    """Balls about the object, (center, radius), in every frame and at rest.

    The prior's cameras keep to them. They are about what is seen of the object, as the
    balls of the prior's own training data are about its animals. Occupied cells reach
    much farther, and the object would look too small. The zero set alone lies within
    the outline, the more so the softer the density is: the object would look larger
    than any that the prior knows, the prior would shrink it, and with it the ball.

    From left to right a ball is about the mean of what is seen, with the front at the
    azimuth ``front``, else at the recipe's. A half that nobody saw lacks a wing, say:
    the middle of the box would lie too far from it, the prior would see too much of the
    body on that side and cut it off, and the middle would move on.
    """
    now = moment(config, model, step)
    points = grid_points(AIM_CELLS)
    # a cell counts where the surface passes through it: half a cell from its center
    seen = config.run.mesh_level * now.beta + 1.0 / AIM_CELLS
    inside = signed_distance(model.field, points, detail=now.detail) < seen
    numbers = config.data.views
    front = jnp.radians(numbers.azimuth_offset_deg) if front is None else front
    across = facing(jnp.asarray(numbers.up, jnp.float32), front)[0]
    about = partial(ball, across=across)
    balls = over_frames(config, model, inside, points, count, about)
    return {"aim": balls, "aim_rest": about(points, inside)}


def fresh_aims(frames: int) -> dict[str, Array]:
    """Balls of radius one about the middle, until there is an object to aim at."""
    one = jnp.array(_NO_BALL)
    return {"aim": jnp.broadcast_to(one, (frames, 4)), "aim_rest": one}


def ball(
    points: Float[Array, "n 3"], valid: Bool[Array, "n"], *, across: Float[Array, "3"]
) -> Float[Array, "4"]:
    """Middle of the points' box and the distance of the farthest one from it.

    Along the direction ``across`` it is their mean. Radius one about the origin where
    there are none.
    """
    center = jnp.mean(extent(points, valid), axis=0)
    mean = jnp.mean(points @ across, where=valid)
    center += (mean - center @ across) * across
    far = jnp.linalg.norm(points - center, axis=-1)
    found = jnp.append(center, jnp.max(jnp.where(valid, far, 0.0)))
    return jnp.where(jnp.any(valid), found, jnp.array(_NO_BALL))


def extent(points: Float[Array, "n 3"], valid: Bool[Array, "n"]) -> Float[Array, "2 3"]:
    """Lowest and highest corner; infinite where there are no points."""
    low = jnp.min(jnp.where(valid[:, None], points, jnp.inf), axis=0)
    high = jnp.max(jnp.where(valid[:, None], points, -jnp.inf), axis=0)
    return jnp.stack([low, high])


def over_frames(
    config: Any,
    model: Model,
    near: Bool[Array, "n"],
    points: Float[Array, "n 3"],
    count: int,
    describe: Callable[[Array, Array], Array],
) -> Float[Array, "t ..."]:
    """``describe(points, valid)`` of the cells carried to every frame.

    Only cells with an empty neighbor are carried: the outermost ones are among them,
    and they fit into as many places as the cube has outer faces.
    """
    cells = round(points.shape[0] ** (1 / 3))
    edge = boundary(near.reshape((cells,) * 3)).reshape(-1)
    (index,) = jnp.nonzero(edge, size=6 * cells**2, fill_value=-1)
    chosen = points[index]
    valid = index >= 0
    time = frame_time(jnp.arange(count, dtype=jnp.float32), count)

    def one(t):
        motion = posed_from_rest(model.bones, t[None])
        return describe(carry(config, model, motion, chosen[None])[0], valid)

    return jax.lax.map(one, time)


def interior(config: Any, model: Model, frozen: dict, step: Array) -> Bool[Array, "n"]:
    """Which points of the cube bones should fill (shape or weak hull)."""
    now = moment(config, model, step)
    points = grid_points(SEED_CELLS)
    sdf = signed_distance(model.field, points, detail=now.detail)
    hull = hull_share(model, frozen, points) > config.scene.bones.seed_share
    near = sdf < config.scene.bones.seed_reach
    return (sdf < 0.0) | (hull & near)


def seed_bones(
    inside: Bool[np.ndarray, "n n n"],
    *,
    count: int,
    seed: int,
    plane: Float[np.ndarray, "4"] | None = None,
) -> tuple[Float[np.ndarray, "bones 3"], Float[np.ndarray, "bones"]]:
    """Centers (k-means) that fill the cells of the cube and each one's scale.

    A cell counts in inverse proportion to the square of the thickness of its part, so
    that bones lie evenly along the length of limbs and trunk instead of crowding in the
    trunk. With a mirror plane they come in pairs, one on either side, and an odd one in
    the middle: two limbs that have melted into one can part only if each has its bones.
    Scales are 0.7 of the distance to the nearest other center, so that neighbors
    overlap at about one scale.
    """
    points = np.asarray(grid_points(len(inside)), np.float64)[inside.reshape(-1)]
    mass = 1.0 / local_thickness(inside)[inside] ** 2
    if plane is None:
        centers = _means(points, mass, count, seed)
    else:
        normal = plane[:3] / np.linalg.norm(plane[:3])
        height = points @ normal - plane[3]
        one_side = points - 2.0 * np.minimum(height, 0.0)[:, None] * normal
        half = _means(one_side, mass, count // 2, seed)
        over = half @ normal - plane[3]
        centers = np.concatenate([half, half - 2.0 * over[:, None] * normal])
        if count % 2:
            centers = np.concatenate([centers, points.mean(axis=0, keepdims=True)])
    gap = KDTree(centers).query(centers, k=2)[0][:, 1]
    return centers.astype(np.float32), (0.7 * np.maximum(gap, 0.05)).astype(np.float32)


def local_thickness(inside: Bool[np.ndarray, "n n n"]) -> Float[np.ndarray, "n n n"]:
    """Half thickness, in cells, of the part that each inside cell belongs to."""
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(inside, 1)))
    depth = depth[1:-1, 1:-1, 1:-1]
    for _ in range(3):  # the middle of a part is at most its half thickness away
        spread = ndimage.grey_dilation(depth, size=(3, 3, 3))
        depth = np.where(inside, np.maximum(depth, np.minimum(spread, depth + 1)), 0)
    return np.maximum(depth, 1.0)


def _means(points: np.ndarray, mass: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Centers of k-means that starts from points far from one another."""
    centers = points[_farthest(points, count, np.random.default_rng(seed))]
    for _ in range(30):
        owner = KDTree(centers).query(points)[1]
        total = np.bincount(owner, mass, minlength=count)
        sums = [np.bincount(owner, mass * points[:, a], count) for a in range(3)]
        alive = total > 0
        centers[alive] = np.stack(sums, axis=-1)[alive] / total[alive, None]
    return centers


def _farthest(points: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """Indices of points that are far from one another."""
    chosen = [int(draw.integers(len(points)))]
    distance = np.full(len(points), np.inf)
    for _ in range(count - 1):
        step = np.linalg.norm(points - points[chosen[-1]], axis=1)
        distance = np.minimum(distance, step)
        chosen.append(int(distance.argmax()))
    return np.array(chosen)
