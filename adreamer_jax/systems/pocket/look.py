"""How good the pocket prior is, seen while it learns: errors by noise, and samples.

Both are drawn from the averaged weights and from fixed noise, so that two readings of
one run differ by the learning alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core.camera import orbit
from adreamer_jax.prior.guide import guided, rescaled
from adreamer_jax.prior.load import CLEAR, blocks_to_pixels
from adreamer_jax.prior.mvdream import camera_tokens
from adreamer_jax.prior.noise import clean_of, ddim_step, timesteps
from adreamer_jax.systems.pocket.learn import (
    VIEWS,
    Networks,
    Views,
    code_views,
    predict,
    read_text,
    squared_errors,
)
from adreamer_jax.types import Array, Float, Int, Params

BANDS = 5  # equal parts of the schedule
KINDS = ("color", "alpha", "hidden")  # what has an error in each of them
SHOWN = (True, True, False, False)


def band_errors(
    networks: Networks, params: Params, sets: dict[str, Array], *, chunk: int = 8
) -> Float[Array, "bands kinds"]:
    """Errors of color and alpha in each band, the mean over all sets.

    In a band the sets stand evenly over its steps, each with its own noise. The third
    is of the alpha of two views when the two others are shown.
    """
    count = len(sets["images"])
    total = networks.schedule.alphas_cumprod.shape[0]
    spread = np.random.default_rng(0).permutation(count) / count

    def one(i: Int[Array, ""]) -> Array:
        rows = (i % (count // chunk)) * chunk + jnp.arange(chunk)
        band = i // (count // chunk)
        low = band * (total // BANDS)
        t = low + (jnp.asarray(spread)[rows] * (total // BANDS)).astype(jnp.int32)
        views = Views(
            code_views(networks, sets["images"][rows]),
            sets["cameras"][rows],
            sets["ids"][rows],
        )
        key = jax.random.fold_in(jax.random.key(0), i)
        noise = jax.random.normal(key, views.codes.shape)
        every = jnp.repeat(t[:, None], VIEWS, axis=1)
        shown = jnp.asarray(SHOWN)
        seen = jnp.where(shown, CLEAR, every)
        color, alpha = squared_errors(networks, params, views, every, noise).mean(
            (0, 1)
        )
        hidden = squared_errors(networks, params, views, seen, noise)[..., 1]
        return jnp.stack([color, alpha, hidden.mean(where=~shown)])

    errors = jax.lax.map(one, jnp.arange(BANDS * (count // chunk)))
    return errors.reshape(BANDS, -1, len(KINDS)).mean(1)


def draw_views(
    networks: Networks,
    params: Params,
    ids: Int[Array, "s tokens"],
    silence: Int[Array, " tokens"],
    cameras: Float[Array, "s v 16"],
    start: Float[Array, "s v h w c"],
    *,
    steps: int,
    scale: float,
    rescale: float,
) -> Float[Array, "s v h w c"]:
    """Clean codes of scenes by deterministic DDIM with classifier-free guidance."""
    schedule = networks.schedule
    as_clean = schedule.replace(prediction="sample")
    count = len(ids)
    times = timesteps(schedule, steps)
    before = np.append(times[1:], -1)
    both = jnp.concatenate([jnp.broadcast_to(silence, ids.shape), ids])
    context = read_text(networks, params, both)
    twice = jnp.concatenate([cameras, cameras])
    steady = jax.vmap(partial(rescaled, amount=rescale))

    def step(z: Array, pair: Array) -> tuple[Array, None]:
        t, t_before = pair
        every = jnp.full((2 * count, VIEWS), t)
        output = predict(
            networks, params, jnp.concatenate([z, z]), every, twice, context
        )
        clean = clean_of(schedule, output, jnp.concatenate([z, z]), every)
        pushed = guided(clean[:count], clean[count:], scale=scale)
        pushed = steady(pushed, clean[count:])
        return ddim_step(as_clean, pushed, z, t, t_before), None

    pairs = jnp.stack([jnp.asarray(times), jnp.asarray(before, jnp.int32)], axis=-1)
    return jax.lax.scan(step, start, pairs)[0]


def ring_cameras(
    count: int, *, azimuth_deg: float, elevation_deg: float
) -> Float[Array, "s v 16"]:
    """The same four cameras around every scene, a quarter turn apart."""
    turn = jnp.deg2rad(azimuth_deg) + jnp.arange(VIEWS) * jnp.pi / 2
    ones = jnp.ones(VIEWS)
    camera = orbit(
        turn, jnp.deg2rad(elevation_deg) * ones, 2.0 * ones, ones, size=(8, 8)
    )
    return jnp.broadcast_to(camera_tokens(camera), (count, VIEWS, 16))


def pictures(
    networks: Networks, codes: Float[Array, "s v h w c"]
) -> Float[Array, "s v h w 3"]:
    """Codes as colors in [0, 1] before gray."""
    flat = blocks_to_pixels(codes.reshape(-1, *codes.shape[2:]), networks.block)
    color = jnp.clip(0.5 * flat[..., :3] + 0.5, 0.0, 1.0)
    return color.reshape(*codes.shape[:2], *color.shape[1:])


def sheet(
    scenes: Float[np.ndarray, "s v h w 3"], *, columns: int = 2, enlarge: int = 2
) -> np.ndarray:
    """One uint8 picture: scenes row by row, the views of each side by side."""
    rows = [np.concatenate(list(views), axis=1) for views in np.asarray(scenes)]
    rows += [np.ones_like(rows[0])] * (-len(rows) % columns)
    grid = [
        np.concatenate(rows[i : i + columns], axis=1)
        for i in range(0, len(rows), columns)
    ]
    pixels = (np.concatenate(grid) * 255.0 + 0.5).astype(np.uint8)
    return pixels.repeat(enlarge, axis=0).repeat(enlarge, axis=1)


def look_at_prompts(
    config: Any, networks: Networks, params: Params, frozen: dict
) -> Float[Array, "s v h w 3"]:
    """Scenes of the recipe's prompts, in colors before gray."""
    numbers, ids = config.sheet, frozen["prompts"]
    cameras = ring_cameras(len(ids), azimuth_deg=35.0, elevation_deg=15.0)
    side = config.data.size // networks.block
    shape = (len(ids), VIEWS, side, side, networks.unet.in_channels)
    start = jax.random.normal(jax.random.key(config.run.seed), shape)
    codes = draw_views(
        networks,
        params,
        ids,
        frozen["silence"],
        cameras,
        start,
        steps=numbers.steps,
        scale=numbers.scale,
        rescale=numbers.rescale,
    )
    return pictures(networks, codes)


def names_of_bands(total: int) -> list[str]:
    """Names of the numbers of `band_errors`, row by row."""
    part = total // BANDS
    return [
        f"validation/{kind}_{i * part}_{(i + 1) * part}"
        for i in range(BANDS)
        for kind in KINDS
    ]
