"""Dense descriptors of the object's surface, made by hand and reduced to few channels.

Every pixel is described by smoothed color, by histograms of gradient directions around
it at three scales, and by the silhouette about it; smoothing is normalized by the mask,
so that the ground never mixes in. Of all linear combinations those are kept that differ
most between places of the object while staying the same along optical flow (linear
discriminant analysis). Maps are [t, fh, fw, c], of unit norm, and zero off the mask.
"""

from pathlib import Path

import cv2
import numpy as np

from adreamer_jax.data.cache import cached, content_hash
from adreamer_jax.data.flow import Flow, area, flow_cached, shrink
from adreamer_jax.types import Bool, Clip, Float

__all__ = ["compute_features", "features_cached", "reduce_features"]

RECIPE = 1  # part of the cache's name: raise it when this file computes other numbers
DIRECTIONS = 8
# Blur before the gradient and distance of the outer histograms, in percent of the
# object's size (the square root of its mean area).
SCALES = ((1.2, 3.6), (2.4, 7.2), (4.2, 12.0))
COLOR_BLURS = (2.4, 6.0, 14.0)
SHAPE_BLURS = (5.0, 10.0, 20.0, 40.0)
# The silhouette is a weak witness: it changes when the object turns.
GROUP_WEIGHTS = (1.0, 1.0, 0.2)
RIDGE = 0.02  # part of the mean variance added to every direction's own


def compute_features(
    images: Float[np.ndarray, "t h w 3"],
    masks: Bool[np.ndarray, "t h w"],
    flow: Flow,
    *,
    size: tuple[int, int],
    channels: int = 16,
) -> Float[np.ndarray, "t fh fw c"]:
    """Descriptors (float16) of a clip; `flow` (any size) says what belongs together."""
    unit = np.sqrt(masks.sum((1, 2)).mean()) / 100
    present = np.stack([shares(mask, size) > 0.25 for mask in masks])
    groups = [
        describe(image, mask, unit, size)
        for image, mask in zip(images, masks, strict=True)
    ]
    wide = np.concatenate(
        [
            weight * evened(np.stack(maps), present)
            for weight, maps in zip(
                GROUP_WEIGHTS, zip(*groups, strict=True), strict=True
            )
        ],
        -1,
    )
    return project(wide, present, discriminants(wide, present, flow, channels))


def shares(mask: Bool[np.ndarray, "h w"], size: tuple[int, int]) -> np.ndarray:
    """The part of every coarse pixel that is object."""
    return area(mask.astype(np.float32), size)


def describe(
    image: Float[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    unit: float,
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Color, gradient and silhouette descriptors of one frame at a coarser size."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) / 255
    inside = mask.astype(np.float32)
    coarse = np.maximum(shares(mask, size), 1e-3)[..., None]

    def down(values: np.ndarray) -> np.ndarray:
        return area(values * inside[..., None], size) / coarse

    color = [down(masked_blur(lab, inside, blur * unit)) for blur in COLOR_BLURS]
    # The object's own colors go on outside it, so that its rim makes no gradient.
    filled = np.where(mask[..., None], lab, masked_blur(lab, inside, 10 * unit))
    ratio = np.array([size[1] / mask.shape[1], size[0] / mask.shape[0]])
    gradient = [
        histograms(filled[..., 0], inside, blur * unit, reach * unit, ratio, size)
        for blur, reach in SCALES
    ]
    outline = down(silhouette(mask, inside, unit))
    return np.concatenate(color, -1), np.concatenate(gradient, -1), outline


def blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    """Values under a Gaussian of so many pixels."""
    return cv2.GaussianBlur(values, (0, 0), sigma)


def masked_blur(
    values: Float[np.ndarray, "h w c"], inside: Float[np.ndarray, "h w"], sigma: float
) -> Float[np.ndarray, "h w c"]:
    """A blur that averages pixels of the object alone."""
    total = blurred(values * inside[..., None], sigma)
    return total / np.maximum(blurred(inside, sigma), 1e-3)[..., None]


def slopes(values: Float[np.ndarray, "h w"]) -> tuple[np.ndarray, np.ndarray]:
    """Differences to the right and downwards."""
    right = cv2.Sobel(values, cv2.CV_32F, 1, 0, scale=0.125)
    return right, cv2.Sobel(values, cv2.CV_32F, 0, 1, scale=0.125)


def histograms(
    light: Float[np.ndarray, "h w"],
    inside: Float[np.ndarray, "h w"],
    sigma: float,
    reach: float,
    ratio: np.ndarray,
    size: tuple[int, int],
) -> Float[np.ndarray, "fh fw c"]:
    """Gradient directions at a pixel and at four places around it, of unit length."""
    right, down = slopes(blurred(light, sigma))
    angles = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    along = right[..., None] * np.cos(angles) + down[..., None] * np.sin(angles)
    around = masked_blur(np.maximum(along, 0).astype(np.float32), inside, 0.6 * reach)
    coarse = area(around, size)
    places = reach * ratio * np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])
    rings = np.concatenate([shifted(coarse, x, y) for x, y in places], -1)
    return rings / (np.linalg.norm(rings, axis=-1, keepdims=True) + 0.01)


def shifted(
    values: Float[np.ndarray, "h w c"], x: float, y: float
) -> Float[np.ndarray, "h w c"]:
    """Values found so many pixels to the right and below every pixel."""
    matrix = np.array([[1, 0, -x], [0, 1, -y]], np.float64)
    planes = np.moveaxis(values, -1, 0)
    size = values.shape[1::-1]
    return np.stack([cv2.warpAffine(plane, matrix, size) for plane in planes], -1)


def silhouette(
    mask: Bool[np.ndarray, "h w"], inside: Float[np.ndarray, "h w"], unit: float
) -> Float[np.ndarray, "h w c"]:
    """Distance to the outline, and how much object lies about a pixel and where."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    maps = [distance / (25 * unit)]
    for blur in SHAPE_BLURS:
        crowd = blurred(inside, blur * unit)
        right, down = slopes(crowd)
        maps += [crowd, right * blur * unit, down * blur * unit]
    return np.stack(maps, -1)


def evened(
    maps: Float[np.ndarray, "t h w c"], present: Bool[np.ndarray, "t h w"]
) -> Float[np.ndarray, "t h w c"]:
    """Maps of mean zero and mean square one over the object, and zero off it."""
    mean = maps[present].mean(0)
    scale = np.sqrt(maps[present].var(0).sum())
    return (maps - mean) / max(scale, 1e-6) * present[..., None]


def discriminants(
    maps: Float[np.ndarray, "t h w c"],
    present: Bool[np.ndarray, "t h w"],
    flow: Flow,
    channels: int,
) -> Float[np.ndarray, "c d"]:
    """Directions in which places differ most for what they change along the flow.

    With S the scatter of all pixels and W that of differences along the flow of the
    longest gap within half of the clip, these are the vectors v of largest
    S v = a W v, with v' W v = 1.
    """
    scatter = np.cov(maps[present].T)
    gap = max((g for g in flow if 2 * g <= len(maps)), default=min(flow))
    change = [
        maps[i][first] - maps[i + gap][second]
        for i in range(len(maps) - gap)
        for first, second in [partners(present, flow[gap], i, gap)]
    ]
    change = np.concatenate([np.zeros((0, maps.shape[-1])), *change])
    within = change.T @ change / max(2 * len(change), 1)
    ridge = RIDGE * np.trace(within) / len(within) + 1e-8 * np.trace(scatter)
    return general_axes(scatter, within + ridge * np.eye(len(within)))[:, :channels]


def partners(
    present: Bool[np.ndarray, "t h w"],
    flow: tuple[np.ndarray, np.ndarray],
    i: int,
    gap: int,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Pixels of frame i and where a trusted flow finds them again, as (row, column)."""
    size = present.shape[1:]
    maps, sure = (values[i].astype(np.float32) for values in flow)
    maps, sure = shrink(maps, sure, sure > 0, size)
    rows, columns = np.nonzero((sure > 0.5) & present[i])
    x, y = np.rint(maps[rows, columns]).astype(int).T
    x, y = columns + x, rows + y
    kept = (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])
    kept[kept] = present[i + gap][y[kept], x[kept]]
    return (rows[kept], columns[kept]), (y[kept], x[kept])


def general_axes(
    first: Float[np.ndarray, "c c"], second: Float[np.ndarray, "c c"]
) -> Float[np.ndarray, "c c"]:
    """Vectors of first v = a second v by falling a, of length one in the second."""
    values, axes = np.linalg.eigh(second)
    white = axes / np.sqrt(np.maximum(values, 1e-12))
    return white @ np.linalg.eigh(white.T @ first @ white)[1][:, ::-1]


def project(
    maps: Float[np.ndarray, "t h w c"],
    present: Bool[np.ndarray, "t h w"],
    axes: Float[np.ndarray, "c d"],
) -> Float[np.ndarray, "t h w d"]:
    """Maps along some axes, of unit norm on the object and zero off it (float16)."""
    values = maps @ axes
    norm = np.linalg.norm(values, axis=-1, keepdims=True)
    return (values / np.maximum(norm, 1e-6) * present[..., None]).astype(np.float16)


def reduce_features(
    features: Float[np.ndarray, "t fh fw c"],
    masks: Bool[np.ndarray, "t h w"],
    *,
    size: tuple[int, int],
    channels: int = 16,
) -> Float[np.ndarray, "t gh gw d"]:
    """Given features of any network at a size, their principal components if many."""
    present = np.stack([shares(mask, size) > 0.25 for mask in masks])
    maps = np.stack([resized(value.astype(np.float32), size) for value in features])
    if maps.shape[-1] <= channels:
        return project(maps, present, np.eye(maps.shape[-1]))
    even = evened(maps, present)
    axes = np.linalg.eigh(np.cov(even[present].T))[1][:, ::-1]
    return project(even, present, axes[:, :channels])


def resized(
    values: Float[np.ndarray, "h w c"], size: tuple[int, int]
) -> Float[np.ndarray, "fh fw c"]:
    """Maps at another size: means when coarser, linear in between when finer."""
    if size[0] <= values.shape[0] and size[1] <= values.shape[1]:
        resize = area
    else:
        resize = linear
    return np.stack([resize(plane, size) for plane in np.moveaxis(values, -1, 0)], -1)


def linear(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Values at the pixel centers of a finer size."""
    return cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def features_cached(
    clip: Clip,
    folder: str | Path,
    flow: Flow | None = None,
    *,
    size: tuple[int, int] | None = None,
    channels: int = 16,
) -> Float[np.ndarray, "t fh fw c"]:
    """The features of a clip: its own where it brings some, else computed and kept.

    The size is a quarter of the clip's if none is given, and so is the flow's.
    """
    height, width = clip.masks.shape[1:]
    size = size or (max(1, height // 4), max(1, width // 4))
    if clip.features is not None:
        return reduce_features(clip.features, clip.masks, size=size, channels=channels)
    known = flow or flow_cached(clip, folder, size=size)
    name = content_hash(
        clip.images, clip.masks, *known[max(known)], size, channels, RECIPE
    )

    def compute() -> dict[str, np.ndarray]:
        maps = compute_features(
            clip.images, clip.masks, known, size=size, channels=channels
        )
        return {"features": maps}

    return cached(Path(folder) / f"features-{name}.npz", compute)["features"]
