"""Pictures as arrays: other sizes, grounds, distances between them, and false colors.

Pictures are [h, w, c] floats in [0, 1], except those that `grid` puts on a sheet for a
person to look at, which are uint8. Pixel centers are at +0.5, so a picture covers
[0, w] x [0, h] at every size.
"""

import dm_pix
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from adreamer_jax.types import Array, Float, Int

__all__ = [
    "composite",
    "depth_colors",
    "grid",
    "label_colors",
    "normal_colors",
    "psnr",
    "resize",
    "ssim",
]

# Anchors of the depth colors, near to far: light yellow, orange, violet, dark blue.
DEPTH_ANCHORS = np.array(
    [[1.0, 0.97, 0.72], [0.98, 0.62, 0.27], [0.71, 0.21, 0.47], [0.13, 0.07, 0.29]]
)
GOLDEN = 0.618033988749895  # steps of this part of a turn never bring hues together


def resize(
    image: Float[Array, "*b h w c"], size: tuple[int, int]
) -> Float[Array, "*b x y c"]:
    """The picture at another size: every new pixel is the mean of what it covers."""
    rows = overlaps(image.shape[-3], size[0])
    columns = overlaps(image.shape[-2], size[1])
    return jnp.einsum("xh,yw,...hwc->...xyc", rows, columns, image)


def overlaps(old: int, new: int) -> Float[Array, "new old"]:
    """The part of every new pixel that each old one covers; rows sum to one."""
    edges = jnp.arange(new + 1) * (old / new)
    cells = jnp.arange(old)
    low = jnp.maximum(edges[:-1, None], cells)
    high = jnp.minimum(edges[1:, None], cells + 1.0)
    return jnp.maximum(high - low, 0.0) * (new / old)


def composite(
    color: Float[Array, "*b 3"],
    mask: Float[Array, "*b"],
    background: Float[Array, "*#b 3"] | Float[Array, "3"] | float = 1.0,
) -> Float[Array, "*b 3"]:
    """Premultiplied color over a ground."""
    return color + (1.0 - mask[..., None]) * background


def psnr(
    first: Float[Array, "h w c"], second: Float[Array, "h w c"]
) -> Float[Array, ""]:
    """Peak signal-to-noise ratio in dB."""
    return -10.0 * jnp.log10(jnp.mean((first - second) ** 2))


def ssim(
    first: Float[Array, "h w c"], second: Float[Array, "h w c"]
) -> Float[Array, ""]:
    """Structural similarity with the usual Gaussian window of 11 pixels."""
    return jnp.asarray(dm_pix.ssim(first, second))


def normal_colors(
    normal: Float[Array, "*b 3"], mask: Float[Array, "*b"]
) -> Float[Array, "*b 3"]:
    """Camera-space normals as colors on white.

    Red points right, green up and blue to the viewer, as in most tools; our camera's y
    and z point down and away.
    """
    colors = 0.5 + 0.5 * normal * jnp.array([1.0, -1.0, -1.0])
    return composite(jnp.clip(colors, 0.0, 1.0) * mask[..., None], mask)


def depth_colors(
    depth: Float[Array, "*b"],
    mask: Float[Array, "*b"],
    *,
    near: float | None = None,
    far: float | None = None,
) -> Float[Array, "*b 3"]:
    """Depth as colors on white, light near and dark far.

    The range is that of the object's pixels where none is given.
    """
    seen = mask > 0.5
    low = jnp.min(depth, where=seen, initial=jnp.inf) if near is None else near
    high = jnp.max(depth, where=seen, initial=-jnp.inf) if far is None else far
    part = (depth - low) / jnp.maximum(high - low, 1e-6)
    part = jnp.where(seen, jnp.clip(part, 0.0, 1.0), 0.0)
    at = jnp.linspace(0.0, 1.0, len(DEPTH_ANCHORS))
    channels = [jnp.interp(part, at, jnp.asarray(c)) for c in DEPTH_ANCHORS.T]
    return composite(jnp.stack(channels, -1) * mask[..., None], mask)


def label_colors(labels: Int[Array, "*b"]) -> Float[Array, "*b 3"]:
    """A color for every label: neighbors in number are far apart in hue."""
    hue = (labels * GOLDEN) % 1.0
    light = 0.95 - 0.25 * (labels % 3) / 2.0
    turn = (hue[..., None] + jnp.array([0.0, 2.0, 1.0]) / 3.0) % 1.0
    full = jnp.clip(jnp.abs(turn * 6.0 - 3.0) - 1.0, 0.0, 1.0)
    return (0.35 + 0.65 * full) * light[..., None]


def grid(
    rows: list[list[np.ndarray]],
    *,
    columns: list[str] | None = None,
    gap: int = 4,
) -> np.ndarray:
    """A white sheet of uint8 pictures in rows, with a caption over every column."""
    height = [max(p.shape[0] for p in row) for row in rows]
    width = [max(p.shape[1] for p in column) for column in zip(*rows, strict=True)]
    head = 16 if columns else gap
    size = (sum(width) + gap * (len(width) + 1), sum(height) + head + gap * len(rows))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    left = [gap + sum(width[:i]) + gap * i for i in range(len(width))]
    for x, text in zip(left, columns or [], strict=False):
        pen.text((x, 2), text, fill="black")
    y = head
    for row, step in zip(rows, height, strict=True):
        for x, picture in zip(left, row, strict=True):
            sheet.paste(Image.fromarray(picture), (x, y))
        y += step + gap
    return np.asarray(sheet)
