"""The job `sample`: consistent views of one object, drawn from a text.

The shortest look at what a diffusion prior believes before it teaches a 3D model: all
views start as noise and are cleaned together, step by step, by DDIM with
classifier-free guidance.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from adreamer_jax.core.camera import orbit
from adreamer_jax.prior.guide import guided, predict_pair, rescaled
from adreamer_jax.prior.load import Prior, load_prior
from adreamer_jax.prior.noise import clean_of, ddim_step, timesteps
from adreamer_jax.run.files import replacing
from adreamer_jax.run.progress import Progress, say
from adreamer_jax.run.recipe import slug
from adreamer_jax.types import Array, Camera, Float, Int, Key, Params


def sample(config: Any, workdir: Path) -> Path:
    """The path of a new sheet: the views of one scene side by side."""
    check(config)
    prior, weights = load_prior(
        config.prior.name,
        dtype=jnp.dtype(config.prior.dtype),
        revision=config.prior.revision or None,
        pins=Path(workdir) / "prior.json",
        tell=say,
    )
    prompt = config.prompt + config.prompt_suffix
    contexts = embed(prior, weights, (config.negative_prompt, prompt))
    weights.pop("text", None)  # read once; a quarter of MVDream's memory
    latents = draw(prior, weights, contexts, config)
    pictures = jax.jit(prior.decode)(weights, latents)
    path = Path(workdir) / "samples" / f"{slug(config.prompt)}-{config.run.seed}.png"
    write_sheet(pictures, path)
    say(f"{prior.num_views} views of '{prompt}': {path}{_caution(prior)}")
    return path


_DTYPES = ("float32", "bfloat16", "float16")


def check(config: Any) -> None:
    """Raise a sentence about the first setting that cannot work."""
    share = "in 0 ... 1"
    rules = (
        ("prompt", lambda x: x.strip(), "a text", "a red fox"),
        (
            "prior.dtype",
            _DTYPES.__contains__,
            f"one of {', '.join(_DTYPES)}",
            "float32",
        ),
        ("run.steps", lambda x: x >= 1, "at least 1", 30),
        ("run.eta", lambda x: 0.0 <= x <= 1.0, share, 0.0),
        ("guidance.rescale", lambda x: 0.0 <= x <= 1.0, share, 0.5),
    )
    for key, holds, rule, example in rules:
        value = reduce(getitem, key.split("."), config)
        if not holds(value):
            raise ValueError(
                f"{key} must be {rule}, got {value!r}; write --config.{key}='{example}'"
            )


def _caution(prior: Prior) -> str:
    return " (random weights: the pictures mean nothing)" if prior.is_random else ""


def embed(
    prior: Prior, weights: Params, texts: tuple[str, ...]
) -> Float[Array, "n tokens width"]:
    """What the network reads of each text."""
    return jax.jit(prior.embed_text)(weights, prior.tokenize(texts))


def cameras(prior: Prior, *, azimuth_deg: float, elevation_deg: float) -> Camera:
    """Cameras evenly around the object, the first at the given azimuth."""
    turn = jnp.arange(prior.num_views) * 2.0 * jnp.pi / prior.num_views
    ones = jnp.ones_like(turn)
    return orbit(
        turn + jnp.deg2rad(azimuth_deg),
        jnp.deg2rad(elevation_deg) * ones,
        2.0 * ones,
        jnp.deg2rad(40.0) * ones,
        size=(prior.image_size, prior.image_size),
    )


def draw(
    prior: Prior,
    weights: Params,
    contexts: Float[Array, "2 tokens width"],
    config: Any,
) -> Float[Array, "v h w c"]:
    """Clean latents of one scene, drawn from noise in ``config.run.steps`` steps."""
    steps = timesteps(prior.schedule, config.run.steps)
    before = np.append(steps[1:], -1)
    views = cameras(prior, **config.view)
    clean = jax.jit(make_step(prior, eta=config.run.eta, **config.guidance))
    start, key = jax.random.split(jax.random.key(config.run.seed))
    latents = jax.random.normal(start, (prior.num_views, *prior.latent_shape))
    say(f"drawing {prior.num_views} views in {len(steps)} steps")
    with Progress("sample", start=0, total=len(steps)) as progress:
        for i, (t, t_before) in enumerate(zip(steps, before, strict=True)):
            here = jax.random.fold_in(key, i)
            latents = clean(weights, latents, t, t_before, contexts, views, here)
            jax.block_until_ready(latents)
            progress.advance(i + 1)
    return latents


def make_step(prior: Prior, *, scale: float, rescale: float, eta: float) -> Callable:
    """One guided DDIM step of all views as a function that can be jitted."""
    as_clean = prior.schedule.replace(prediction="sample")

    def step(
        weights: Params,
        latents: Float[Array, "v h w c"],
        t: Int[Array, ""],
        t_before: Int[Array, ""],
        contexts: Float[Array, "2 tokens width"],
        views: Camera,
        key: Key,
    ) -> Float[Array, "v h w c"]:
        denoise = partial(prior.denoise, weights)
        without, with_prompt = predict_pair(denoise, latents, t, contexts, views)
        noise = guided(without, with_prompt, scale=scale)
        clean = clean_of(prior.schedule, noise, latents, t)
        plain = clean_of(prior.schedule, with_prompt, latents, t)
        clean = rescaled(clean, plain, amount=rescale)
        fresh = jax.random.normal(key, latents.shape)
        return ddim_step(as_clean, clean, latents, t, t_before, eta=eta, noise=fresh)

    return step


def write_sheet(pictures: Float[Array, "v h w 3"], path: Path) -> None:
    """Write the views side by side as a PNG, enlarged where they are tiny."""
    row = np.concatenate(list(np.asarray(pictures, np.float32)), axis=1)
    pixels = (np.clip(row, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    enlarge = max(1, 128 // pixels.shape[0])
    pixels = pixels.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    with replacing(path) as part:
        Image.fromarray(pixels).save(part)
