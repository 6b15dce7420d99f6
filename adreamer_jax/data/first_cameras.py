"""The cameras of a clip that nobody knows, from its silhouettes and its flow.

Where they are right, the cones of all silhouettes meet in one shape that fills each of
them again; where they are wrong, the shape on which the cones agree is too small.
Silhouettes alone cannot tell a turn to the left from one to the right (from far away
the shape mirrored in depth looks the same), but what lies in front then moves the other
way, which the flow shows. Boxes say where the sides are: an animal is longer than wide.
So a turn of the object about its vertical axis, seen by a camera that looks down a
little, is searched among steady turns of many rates, and the best ones are bent until
they fit.

Object space is that of `constant_camera`: y is up, the side view looks along +x, and
x = 0 is taken for the mirror plane of the animal. Its widest box spans [-1, 1].
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import optax

from adreamer_jax.core import rotation
from adreamer_jax.core.encoding import cosine_basis
from adreamer_jax.data.cache import cached, content_hash
from adreamer_jax.data.cameras import (
    SIDE_VIEW,
    constant_camera,
    mask_boxes,
    squared_width,
)
from adreamer_jax.data.flow import Flow
from adreamer_jax.types import Array, Bool, Float

__all__ = ["found_cameras", "search_cameras"]

REACH = 1.3  # half of the cube that holds the object, in object units
CELLS = 28  # of the cube along one side, and of a silhouette across it
VIEWS = 20  # frames that are looked at
PIXELS = 160  # of each of them
DEPTHS = 24  # places along the ray of a pixel
CURVES = 5  # cosines of the turn over the clip
SHIFTS = 4  # ... and of where the object's origin lies
GAPS = (2, 4, 8)  # frames over which flow is looked at
RATES = (0, 60, -60, 120, -120, 180, -180, 270, -270, 360, -360)  # degrees a clip
FACINGS = (-90, -60, -30, 0, 30, 60)  # in the middle of it, degrees from the side
TILT = np.radians(12.0)  # people look down at animals a little
TILT_SPREAD = np.radians(15.0)
FLOW = 2.0  # weight of flow, missed by so many object units in four frames
BEND = 0.02  # weight of a turn that is not steady
WIDTH = 0.5  # weight of boxes that are not as wide as they should be
SLENDER = 0.4  # width of an animal over its length
TRIES = 3  # steady turns that are bent, at least one each way
CLEARLY = 0.01  # by which one way must be better than the other
STEPS = 40
RATE = 0.1
RECIPE = 1  # of this file, for what is kept on disk


class Views(NamedTuple):
    """What some frames say; tangents are pixels over the focal length.

    ``end_`` stands before what is known of the frames to which flow leads, a row a gap.
    """

    time: Float[Array, "n"]  # 0 to 1
    middle: Float[Array, "n 2"]  # of the box, tangents
    distance: Float[Array, "n"]
    width: Float[Array, "n"]  # log of the box's, in object units
    silhouettes: Float[Array, "n p p"]  # around the middle, REACH to each side
    tangents: Float[Array, "n r 2"]  # of pixels on the object
    end_time: Float[Array, "g n"]
    end_middle: Float[Array, "g n 2"]
    end_distance: Float[Array, "g n"]
    flow: Float[Array, "g n r 2"]  # tangents, in four frames
    trust: Float[Array, "g n r"]
    stretch: Float[Array, "g"]  # four over the gap


class Turn(NamedTuple):
    """A turn of the object before a camera, and where its origin lies."""

    rate: Float[Array, ""]  # radians a clip
    bend: Float[Array, "k"]  # cosines of the angle, the first one its mean
    tilt: Float[Array, ""]  # of the camera, downwards
    shift: Float[Array, "s 3"]  # cosines of the offset: right, down, log distance


def search_cameras(
    masks: Bool[np.ndarray, "t h w"], intrinsics: Float[np.ndarray, "4"], flow: Flow
) -> Float[np.ndarray, "t 4 4"]:
    """camera_from_object of every frame of a clip, in about half a minute.

    ``intrinsics`` are fx, fy, cx, cy in pixels of the masks, none of which may be
    empty. ``flow`` is that of `compute_flow`, of any size: without any, turns to the
    left and to the right are hardly told apart. Where neither is clearly better, all
    cameras have one pose (`constant_camera`), and which way it is is left to learning.
    """
    turn = searched(views_of(masks, intrinsics, flow))
    if turn is None:
        return constant_camera(masks, intrinsics)
    return cameras_of(turn, masks, intrinsics)


def found_cameras(
    masks: Bool[np.ndarray, "t h w"],
    intrinsics: Float[np.ndarray, "4"],
    flow: Flow,
    folder: str | Path,
) -> Float[np.ndarray, "t 4 4"]:
    """What `search_cameras` finds, kept in a folder once it is found."""
    parts = [part for g in GAPS if g in flow for part in flow[g]]
    name = content_hash(masks, np.asarray(intrinsics), *parts, RECIPE)
    arrays = cached(
        Path(folder) / f"cameras-{name}.npz",
        lambda: {"camera_from_object": search_cameras(masks, intrinsics, flow)},
    )
    return arrays["camera_from_object"]


def views_of(
    masks: Bool[np.ndarray, "t h w"], intrinsics: Float[np.ndarray, "4"], flow: Flow
) -> Views:
    """What some frames of a clip say."""
    count = len(masks)
    focal, center = np.split(np.asarray(intrinsics, np.float64), 2)
    distance = constant_camera(masks, intrinsics)[:, 2, 3]
    left, top, right, bottom = mask_boxes(masks).T
    middle = (np.stack([left + right, top + bottom], 1) / 2 - center) / focal
    picked = np.unique(np.linspace(0, count - 1, VIEWS).round().astype(int))
    draw = np.random.default_rng(0)
    pixels = np.stack([draw.choice(np.argwhere(masks[t]), PIXELS) for t in picked])
    pixels = pixels[..., ::-1] + 0.5  # x, y
    gaps = [g for g in GAPS if g in flow] or [GAPS[0]]
    ends = np.minimum(picked + np.array(gaps)[:, None], count - 1)
    ends_of_flow = [_flow_at(flow, g, picked, pixels, masks) for g in gaps]
    moved, trust = (np.stack(parts) for parts in zip(*ends_of_flow, strict=True))
    parts = dict(
        time=(picked + 0.5) / count,
        middle=middle[picked],
        distance=distance[picked],
        width=np.log((right - left) * distance)[picked],
        silhouettes=np.stack(
            [
                _around(masks[t], middle[t], REACH / float(distance[t]), intrinsics)
                for t in picked
            ]
        ),
        tangents=(pixels - center) / focal,
        end_time=(ends + 0.5) / count,
        end_middle=middle[ends],
        end_distance=distance[ends],
        flow=moved / focal,
        trust=trust,
        stretch=4 / np.array(gaps),
    )
    return Views(**{k: jnp.asarray(part, jnp.float32) for k, part in parts.items()})


def _around(
    mask: Bool[np.ndarray, "h w"],
    middle: Float[np.ndarray, "2"],
    half: float,
    intrinsics: Float[np.ndarray, "4"],
) -> Float[np.ndarray, "p p"]:
    """A soft silhouette around a middle; half its side is given in tangents."""
    fx, fy, cx, cy = (float(v) for v in intrinsics)
    offset = ((np.arange(CELLS) + 0.5) / CELLS * 2 - 1) * half
    x = (middle[0] + offset) * fx + cx - 0.5
    y = (middle[1] + offset) * fy + cy - 0.5
    cell = 2 * half * fx / CELLS
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.4 * cell, 0.1))
    x, y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return cv2.remap(soft, x, y, cv2.INTER_LINEAR, borderValue=0)


def _flow_at(
    flow: Flow, gap: int, frames: np.ndarray, pixels: np.ndarray, masks: np.ndarray
) -> tuple[Float[np.ndarray, "n r 2"], Float[np.ndarray, "n r"]]:
    """Flow in pixels of the masks and its trust, which is 0 where there is none."""
    if gap not in flow:
        return np.zeros(pixels.shape), np.zeros(pixels.shape[:-1])
    values, sure = flow[gap]
    height, width = sure.shape[1:]
    scale = np.array(masks.shape[:0:-1]) / [width, height]
    x, y = np.moveaxis((pixels / scale).astype(int), -1, 0)
    at = frames[:, None], np.minimum(y, height - 1), np.minimum(x, width - 1)
    inside = (frames + gap < len(masks))[:, None]
    return values[at].astype(float) * scale, sure[at].astype(float) * inside


def steady_turn(rate: float, facing: float) -> Turn:
    """A turn of constant rate, in radians a clip, and where it faces in the middle."""
    return Turn(
        rate=jnp.float32(rate),
        bend=jnp.zeros(CURVES).at[0].set(facing),
        tilt=jnp.float32(TILT),
        shift=jnp.zeros((SHIFTS, 3)),
    )


def searched(views: Views) -> Turn | None:
    """The turn that agrees best with what the frames say; None where none stands out.

    Then a turn to the left and one to the right agree alike.
    """
    degrees = [(rate, facing) for rate in RATES for facing in FACINGS]
    steady = [steady_turn(*np.radians(pair)) for pair in degrees]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *steady)
    value = jax.jit(lambda x: jax.lax.map(lambda turn: objective(turn, views), x))
    order = [int(i) for i in np.argsort(np.asarray(value(stacked)))]
    left, right = ([i for i in order if sign * degrees[i][0] > 0] for sign in (1, -1))
    tries = [left[0], right[0]]
    tries += [i for i in order if i not in tries][: TRIES - 2]
    bent = jax.jit(lambda turn: bend(turn, views))
    found = sorted((bent(steady[i]) for i in tries), key=lambda pair: float(pair[1]))
    best, reached = found[0]
    others = [x for turn, x in found if swept(turn) * swept(best) < 0]
    if not others or min(others) - reached > CLEARLY:
        return best
    return None


def swept(turn: Turn) -> Float[Array, ""]:
    """The angle between the first and the last moment."""
    first, last = angles(turn, jnp.array([0.0, 1.0]))
    return last - first


def bend(turn: Turn, views: Views) -> tuple[Turn, Float[Array, ""]]:
    """The turn that agrees best among those near a given one, and its objective."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(RATE, STEPS)),
    )

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        turn, state = carry
        gradient = jax.grad(objective)(turn, views)
        change, state = optimizer.update(gradient, state, turn)
        return (optax.apply_updates(turn, change), state), None

    carry = turn, optimizer.init(turn)
    turn = jax.lax.scan(step, carry, None, length=STEPS)[0][0]
    return turn, objective(turn, views)


def objective(turn: Turn, views: Views) -> Float[Array, ""]:
    """How badly a turn agrees with silhouettes, flow and what animals look like."""
    share = hull(turn, views)
    covered, missed = agreement(turn, views, share)
    unsteady = jnp.sum((jnp.arange(1, CURVES) * turn.bend[1:]) ** 2)
    tilted = ((turn.tilt - TILT) / TILT_SPREAD) ** 2
    return (
        FLOW * missed
        - covered
        + BEND * unsteady
        + WIDTH * jnp.var(views.width - foretold_width(angles(turn, views.time)))
        + 3e-3 * tilted
        + 1e-2 * jnp.sum(turn.shift**2)
    )


def angles(turn: Turn, time: Float[Array, "n"]) -> Float[Array, "n"]:
    """How far the object is turned from its side view, in radians."""
    return cosine_basis(time, terms=CURVES) @ turn.bend + turn.rate * (time - 0.5)


def poses(
    turn: Turn,
    time: Float[Array, "n"],
    middle: Float[Array, "n 2"],
    distance: Float[Array, "n"],
) -> tuple[Float[Array, "n 3 3"], Float[Array, "n 3"]]:
    """Rotation and translation of camera_from_object where boxes are given."""
    angle = angles(turn, time)
    shift = cosine_basis(time, terms=SHIFTS) @ turn.shift
    up, right = jnp.array([0.0, 1.0, 0.0]), jnp.array([1.0, 0.0, 0.0])
    about = rotation.to_matrix(rotation.from_vector(angle[:, None] * up))
    down = rotation.to_matrix(rotation.from_vector(turn.tilt * right))
    depth = distance * jnp.exp(shift[:, 2])
    origin = middle * depth[:, None] + shift[:, :2]
    turned = jnp.einsum("ij,jk,nkl->nil", down, jnp.asarray(SIDE_VIEW), about)
    return turned, jnp.concatenate([origin, depth[:, None]], axis=1)


def hull(turn: Turn, views: Views) -> Float[Array, "c c c"]:
    """Share of the silhouettes that hold each cell of the cube, on both sides alike."""
    turned, origin = poses(turn, views.time, views.middle, views.distance)
    middle = (jnp.arange(CELLS) + 0.5) / CELLS * 2 - 1
    cells = REACH * jnp.stack(jnp.meshgrid(middle, middle, middle, indexing="ij"), -1)
    seen = jnp.einsum("nij,cj->nci", turned, cells.reshape(-1, 3)) + origin[:, None]
    offset = seen[..., :2] / seen[..., 2:] - views.middle[:, None]
    place = (offset * (views.distance / REACH)[:, None, None] + 1) / 2 * CELLS - 0.5
    inside = jax.vmap(_linear)(views.silhouettes, place[..., ::-1])
    share = inside.mean(0).reshape(CELLS, CELLS, CELLS)
    return jnp.minimum(share, share[::-1])


def _linear(values: Float[Array, "..."], place: Float[Array, "*b d"]) -> Array:
    """Values between cells, zero outside; a place counts cells from the first one."""
    return jax.scipy.ndimage.map_coordinates(
        values, list(jnp.moveaxis(place, -1, 0)), order=1, mode="constant"
    )


def agreement(
    turn: Turn, views: Views, share: Float[Array, "c c c"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """How well the hull fills the silhouettes, and by how much it misses the flow.

    The first is the mean over their pixels of the largest share along the ray; the
    second the mean distance, in object units, between where the nearest surface goes
    and where flow leads, but for what the whole frame has in common.
    """
    turned, origin = poses(turn, views.time, views.middle, views.distance)
    depth = origin[:, 2:] + REACH * jnp.linspace(-1.0, 1.0, DEPTHS)
    rays = jnp.concatenate([views.tangents, jnp.ones_like(views.tangents[..., :1])], -1)
    seen = rays[:, :, None] * depth[:, None, :, None]
    points = jnp.einsum("nji,nrsj->nrsi", turned, seen - origin[:, None, None])
    along = _linear(share, (points / REACH + 1) / 2 * CELLS - 0.5)
    most = along.max(-1)

    solid = jax.nn.sigmoid((along - 0.85 * most[..., None]) / 0.03)
    clear = jnp.cumprod(1 - solid, axis=-1)
    first = solid * jnp.concatenate(
        [jnp.ones_like(most)[..., None], clear[..., :-1]], -1
    )
    surface = jnp.sum(first[..., None] * points, -2) / (first.sum(-1)[..., None] + 1e-6)

    def miss(time, middle, distance, flow, trust, stretch):
        there, origin = poses(turn, time, middle, distance)
        end = jnp.einsum("nij,nrj->nri", there, surface) + origin[:, None]
        left = end[..., :2] / end[..., 2:] - views.tangents - flow
        weight = trust[..., None]
        left -= jnp.sum(weight * left, 1, keepdims=True) / (
            jnp.sum(weight, 1, keepdims=True) + 1e-3
        )
        far = jnp.sqrt(jnp.sum(left**2, -1) + 1e-8) * views.distance[:, None] * stretch
        return jnp.sum(trust * far) / (jnp.sum(trust) + 1e-3)

    missed = jax.vmap(miss)(
        views.end_time,
        views.end_middle,
        views.end_distance,
        views.flow,
        views.trust,
        views.stretch,
    )
    return most.mean(), missed.mean()


def foretold_width(angle: Float[Array, "n"]) -> Float[Array, "n"]:
    """Log of how wide an animal of length one looks, turned from its side view."""
    return 0.5 * jnp.log(squared_width(jnp.cos(angle), jnp.sin(angle), SLENDER))


def cameras_of(
    turn: Turn, masks: Bool[np.ndarray, "t h w"], intrinsics: Float[np.ndarray, "4"]
) -> Float[np.ndarray, "t 4 4"]:
    """camera_from_object of every frame; boxes are followed smoothly."""
    cameras = constant_camera(masks, intrinsics)
    count = len(masks)
    turned, origin = poses(
        turn,
        (jnp.arange(count) + 0.5) / count,
        jnp.asarray(cameras[:, :2, 3] / cameras[:, 2:3, 3]),
        jnp.asarray(cameras[:, 2, 3]),
    )
    cameras[:, :3, :3], cameras[:, :3, 3] = np.asarray(turned), np.asarray(origin)
    return cameras
