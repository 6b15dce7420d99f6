"""Pinhole cameras: rays, projection, cameras on an orbit.

OpenCV axes: x right, y down, z forward; the center of pixel (row i, column j) is at
(j + 0.5, i + 0.5). Object space has y up. Distances along a ray are depths (camera z).
"""

import jax
import jax.numpy as jnp

from adreamer_jax.types import Array, Camera, Float, Key, Rays


def camera_rays(camera: Camera, pixels: Float[Array, "*b r 2"]) -> Rays:
    """Rays in object space through pixel positions; near and far still open."""
    local = (pixels - camera.center[..., None, :]) / camera.focal[..., None, :]
    local = jnp.concatenate([local, jnp.ones_like(local[..., :1])], axis=-1)
    rotation = camera.camera_from_object[..., :3, :3]
    translation = camera.camera_from_object[..., :3, 3]
    directions = jnp.einsum("...ji,...rj->...ri", rotation, local)
    origin = -jnp.einsum("...ji,...j->...i", rotation, translation)
    origins = jnp.broadcast_to(origin[..., None, :], directions.shape)
    zeros = jnp.zeros(directions.shape[:-1])
    return Rays(origins, directions, zeros, jnp.full_like(zeros, jnp.inf))


def clip_to_box(rays: Rays, box: Float[Array, "*b 2 3"], *, nearest: float = 1e-3):
    """Rays whose near and far lie where they enter and leave a box.

    A ray that misses the box gets far = near, an empty interval.
    """
    safe = jnp.where(jnp.abs(rays.directions) < 1e-9, 1e-9, rays.directions)
    a = (box[..., None, 0, :] - rays.origins) / safe
    b = (box[..., None, 1, :] - rays.origins) / safe
    near = jnp.maximum(jnp.max(jnp.minimum(a, b), axis=-1), nearest)
    far = jnp.min(jnp.maximum(a, b), axis=-1)
    return rays.replace(near=near, far=jnp.maximum(far, near))


def project(
    camera: Camera, points: Float[Array, "*b n 3"]
) -> tuple[Float[Array, "*b n 2"], Float[Array, "*b n"]]:
    """Pixel positions and depths of object-space points.

    Points behind the camera are divided by a depth of 1e-4: far off, but finite.
    """
    rotation = camera.camera_from_object[..., :3, :3]
    translation = camera.camera_from_object[..., :3, 3]
    local = jnp.einsum("...ij,...nj->...ni", rotation, points)
    local = local + translation[..., None, :]
    depth = local[..., 2]
    safe = jnp.maximum(depth, 1e-4)[..., None]
    pixels = local[..., :2] / safe * camera.focal[..., None, :]
    return pixels + camera.center[..., None, :], depth


def pixel_centers(size: tuple[int, int]) -> Float[Array, "hw 2"]:
    """Centers (x, y) of all pixels of an image, row by row."""
    height, width = size
    y, x = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    return jnp.stack([x.reshape(-1), y.reshape(-1)], axis=-1).astype(jnp.float32) + 0.5


def look_at(
    eye: Float[Array, "*b 3"],
    target: Float[Array, "*b 3"],
    up: Float[Array, "3"] | None = None,
) -> Float[Array, "*b 4 4"]:
    """camera_from_object of a camera at eye that sees target in its center."""
    up = jnp.array([0.0, 1.0, 0.0]) if up is None else up
    forward = target - eye
    forward = forward / jnp.linalg.norm(forward, axis=-1, keepdims=True)
    right = jnp.cross(forward, jnp.broadcast_to(up, forward.shape))
    right = right / jnp.linalg.norm(right, axis=-1, keepdims=True)
    down = jnp.cross(forward, right)
    rotation = jnp.stack([right, down, forward], axis=-2)
    translation = -jnp.einsum("...ij,...j->...i", rotation, eye)
    top = jnp.concatenate([rotation, translation[..., None]], axis=-1)
    bottom = jnp.broadcast_to(jnp.array([0.0, 0, 0, 1]), (*top.shape[:-2], 1, 4))
    return jnp.concatenate([top, bottom], axis=-2)


def orbit(
    azimuth: Float[Array, "*b"],
    elevation: Float[Array, "*b"],
    distance: Float[Array, "*b"],
    fov: Float[Array, "*b"],
    *,
    size: tuple[int, int],
    target: Float[Array, "*b 3"] | None = None,
) -> Camera:
    """Cameras on a sphere about a target; angles in radians.

    Azimuth 0 stands on +z and looks along -z onto the object's front; it grows towards
    +x. ``fov`` is vertical.
    """
    unit = jnp.stack(
        [
            jnp.cos(elevation) * jnp.sin(azimuth),
            jnp.sin(elevation) * jnp.ones_like(azimuth),
            jnp.cos(elevation) * jnp.cos(azimuth),
        ],
        axis=-1,
    )
    target = jnp.zeros_like(unit) if target is None else target
    pose = look_at(target + distance[..., None] * unit, target)
    focal = 0.5 * size[0] / jnp.tan(0.5 * fov) * jnp.ones_like(azimuth)
    center = jnp.broadcast_to(jnp.array([size[1] / 2, size[0] / 2]), (*focal.shape, 2))
    return Camera(pose, jnp.stack([focal, focal], axis=-1), center, size)


def sample_orbit(
    key: Key,
    *,
    views: int,
    size: tuple[int, int],
    elevation_deg: tuple[float, float],
    fov_deg: tuple[float, float],
    fill: tuple[float, float],
    toward: Float[Array, "3"] | None = None,
    spread_deg: float = 0.0,
) -> Camera:
    """Cameras evenly around an object whose farthest point is at distance one.

    The first azimuth, the shared elevation and the field of view are drawn evenly.
    ``fill`` bounds the sine of half the angle that the object's ball fills over that of
    half the field of view, about its diameter over the picture's height. With
    ``toward`` the first camera stands in that direction (length one), up to
    ``spread_deg`` beside, above or below it, if the elevation allows that.
    """
    draws = jax.random.uniform(key, (4,))
    between = lambda bounds, at: bounds[0] + (bounds[1] - bounds[0]) * at
    first, height = 2.0 * jnp.pi * draws[0], between(elevation_deg, draws[1])
    if toward is not None:
        beside = spread_deg * (2.0 * draws[:2] - 1.0)
        first = jnp.arctan2(toward[0], toward[2]) + jnp.radians(beside[0])
        height = jnp.degrees(jnp.arcsin(jnp.clip(toward[1], -1.0, 1.0))) + beside[1]
        height = jnp.clip(height, *elevation_deg)
    turn = first + 2.0 * jnp.pi * jnp.arange(views) / views
    fov = jnp.radians(between(fov_deg, draws[2]))
    distance = 1.0 / (jnp.sin(0.5 * fov) * between(fill, draws[3]))
    one = jnp.ones_like(turn)
    elevation = jnp.radians(height)
    return orbit(turn, elevation * one, distance * one, fov * one, size=size)


def facing(
    up: Float[Array, "3"], azimuth: Float[Array, ""] | float
) -> Float[Array, "3 3"]:
    """Rotation that takes ``up`` to +y and the front to +z.

    The front lies at ``azimuth`` (radians, from +z towards +x) about up; where up is
    not y, the directions are those of the shortest turn from y to up.
    """
    up = jnp.asarray(up, jnp.float32)
    up = up / jnp.linalg.norm(up)
    sin, cos = jnp.sin(azimuth), jnp.cos(azimuth)
    level = jnp.array([sin, 0.0, cos])
    # Rodrigues' turn from y to up; straight down it is half a turn about x
    x, y, z = up
    tilt = jnp.maximum(1.0 + y, 1e-6)
    turn = jnp.array(
        [[1 - x * x / tilt, x, -x * z / tilt],
         [-x, y, -z],
         [-x * z / tilt, z, 1 - z * z / tilt]]
    )  # fmt: skip
    upside_down = jnp.diag(jnp.array([1.0, -1.0, -1.0]))
    turn = jnp.where(y > -1.0 + 1e-6, turn, upside_down)
    front = turn @ level
    return jnp.stack([jnp.cross(up, front), up, front])


def seen_from(
    camera: Camera,
    space_from_object: Float[Array, "3 3"],
    center: Float[Array, "3"],
    scale: Float[Array, ""] | float = 1.0,
) -> Camera:
    """Cameras of another space as cameras of object space.

    That space is object space moved to ``center``, turned, and divided by ``scale``.
    """
    pose = camera.camera_from_object
    turn = pose[..., :3, :3] @ space_from_object
    shift = scale * pose[..., :3, 3] - turn @ center
    pose = pose.at[..., :3, :3].set(turn).at[..., :3, 3].set(shift)
    return camera.replace(camera_from_object=pose)


def with_size(camera: Camera, size: tuple[int, int]) -> Camera:
    """The same view at another number of pixels."""
    scale = jnp.array([size[1] / camera.size[1], size[0] / camera.size[0]])
    return camera.replace(
        focal=camera.focal * scale, center=camera.center * scale, size=size
    )
