"""Pinhole cameras: rays, projection, cameras on an orbit.

OpenCV axes: x right, y down, z forward; the center of pixel (row i, column j) is at
(j + 0.5, i + 0.5). Object space has y up. Distances along a ray are depths (camera z).
"""

import jax.numpy as jnp

from adreamer_jax.types import Array, Camera, Float, Rays


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


def with_size(camera: Camera, size: tuple[int, int]) -> Camera:
    """The same view at another number of pixels."""
    scale = jnp.array([size[1] / camera.size[1], size[0] / camera.size[0]])
    return camera.replace(
        focal=camera.focal * scale, center=camera.center * scale, size=size
    )
