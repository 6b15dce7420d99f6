"""What the prior would rather see: its judgment of pictures (section 7).

The judgment is a gradient on pictures and masks. It goes through the prior's encoder;
its network is only asked. Letters: v views.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core.image import resize
from adreamer_jax.objective.distill import (
    clean_target,
    distill_loss,
    form_weight,
    noised,
    sample_time,
    time_window,
)
from adreamer_jax.objective.regularize import opacity_entropy_loss
from adreamer_jax.prior.guide import guided, predict_pair, rescaled
from adreamer_jax.prior.load import CLEAR, GRAY, Prior, load_prior, views_apart
from adreamer_jax.prior.noise import clean_of
from adreamer_jax.systems.animatable.distill_views import Views
from adreamer_jax.types import Array, Bool, Camera, Float, Int, Key, Metrics, Params

FORMS = ("x0", "sds", "caption")
SPACES = ("posed", "canonical")
MOVES = ("canonical", "canonical+warp")
BACKGROUNDS = ("gray", "white", "random")


def read_prior(
    config: Any,
    prompt: str,
    given: tuple[Prior, Params] | None = None,
    *,
    pins: Path | None = None,
    **suffixes: str,
) -> tuple[Prior, dict[str, Any]]:
    """The recipe's prior and its constant arrays, for the recipe's words or the clip's.

    ``given`` is a prior with its weights that takes the place of the recipe's. The file
    ``pins`` keeps which version of a downloaded one was taken. For each of ``suffixes``
    there are contexts under its name, of the words with the suffix after them.
    """
    check_csd(config)
    prior, weights = given or load_prior(
        config.prior.name,
        dtype=jnp.dtype(config.prior.dtype),
        revision=config.prior.revision or None,
        pins=pins,
        tell=partial(print, file=sys.stderr),
    )
    if not config.prior.view_attention:
        prior = views_apart(prior)
    if config.csd.shown_deg > 0 and not (prior.shows_views and prior.has_alpha):
        raise ValueError(
            f"csd.shown_deg must be 0 with the prior {prior.name}, got "
            f"{config.csd.shown_deg}; only one that was trained to be shown some "
            "of its views can complete the others: write --config.csd.shown_deg=0"
        )
    words = (config.prompt or prompt) + config.prompt_suffix
    if not words.strip():
        raise ValueError(
            "the prior must be told what is to be seen, got no words in the clip or "
            'the recipe; write --config.prompt="a red fox walking"'
        )
    more = {name: words + suffix for name, suffix in suffixes.items()}
    return prior, prior_arrays(
        prior, weights, negative=config.negative_prompt, prompt=words, **more
    )


def check_csd(config: Any) -> None:
    """Raise a sentence about the first setting that cannot work."""
    numbers = config.csd
    choices = {
        "form": FORMS, "space": SPACES, "moves": MOVES, "background": BACKGROUNDS
    }  # fmt: skip
    for name, allowed in choices.items():
        if numbers[name] not in allowed:
            raise ValueError(
                f"csd.{name} must be one of {', '.join(allowed)}, got "
                f"{numbers[name]}; write --config.csd.{name}={allowed[0]}"
            )
    if numbers.shown_deg > 0 and numbers.form != "x0":
        raise ValueError(
            f"csd.shown_deg must be 0 with csd.form={numbers.form}, got "
            f"{numbers.shown_deg}: views are completed by their clean estimates; write "
            "--config.csd.form=x0"
        )
    for name in ("groups", "every", "resolution", "thinning", "samples", "chain"):
        if numbers[name] < 1:
            raise ValueError(
                f"csd.{name} must be at least 1, got {numbers[name]}; "
                f"write --config.csd.{name}=1"
            )


def prior_arrays(
    prior: Prior, weights: Params, *, negative: str, prompt: str, **prompts: str
) -> dict[str, Any]:
    """What a step reads of a prior: its weights and both texts, [2, tokens, width].

    Those of further ``prompts`` stand under their names. The text network has then done
    its work and is left out.
    """
    ids = prior.tokenize([negative, prompt, *prompts.values()])
    texts = jax.jit(prior.embed_text)(weights, ids)
    pairs = {name: texts[np.array([0, 2 + i])] for i, name in enumerate(prompts)}
    if isinstance(weights, dict):
        weights = {name: part for name, part in weights.items() if name != "text"}
    return {"prior": weights, "contexts": texts[:2], **pairs}


def judge(
    config: Any,
    prior: Prior,
    frozen: dict,
    views: Views,
    pictures: tuple[Float[Array, "v h w 3"], Float[Array, "v h w"]],
    step: Int[Array, ""],
    key: Key,
    shown: Bool[Array, "v"] | None = None,
) -> tuple[tuple[Float[Array, "v h w 3"], Float[Array, "v h w"]], Metrics]:
    """The gradient of the prior's judgment in pictures and masks, and its value.

    It goes through the prior's encoder; its network is only asked. Views that are
    ``shown`` to it under hardly any noise are not judged: it completes the others from
    them, and where there are none it says nothing.
    """
    time_key, noise_key, ground_key = jax.random.split(key, 3)
    shares = prior.schedule.alphas_cumprod
    window = time_window(
        step / config.run.steps, low=config.csd.time_low, high=config.csd.time_high
    )
    t = sample_time(time_key, window, steps=shares.shape[0])
    estimate = clean_estimate(config, prior, frozen, views.seen)
    ground = background(config, ground_key)

    def loss(color, mask):
        if prior.has_alpha or ground is None:
            latents = prior.encode(frozen["prior"], color, mask)
        else:
            filled = color + (1.0 - mask[..., None]) * ground
            latents = prior.encode(frozen["prior"], filled)
        latents = latents.astype(jnp.float32)
        noise = jax.random.normal(noise_key, latents.shape)
        if config.csd.form == "caption":
            z = noised(latents, noise, shares[t])
            added = caption_part(config, prior, frozen, views.seen, z, t)
            target = jax.lax.stop_gradient(latents + added)
        else:
            target = clean_target(
                complete(estimate, latents, noise, shown, shares),
                latents,
                noise,
                t,
                shares,
                chain=config.csd.chain,
            )
        weight = form_weight(config.csd.form, shares[t])
        if shown is None:
            value = distill_loss(latents, target, weight=weight)
        else:
            wanted = read_pictures(prior, frozen["prior"], target)
            value = jnp.any(shown) * completion_loss(
                prior, (color, mask), wanted, color=config.csd.color
            )
        return value + config.csd.entropy * opacity_entropy_loss(mask), value

    pull, value = jax.grad(loss, argnums=(0, 1), has_aux=True)(*pictures)
    return pull, {"loss/csd": value, "csd/time": t / shares.shape[0]}


def complete(
    estimate: Callable,
    latents: Float[Array, "v h w c"],
    noise: Float[Array, "v h w c"],
    shown: Bool[Array, "v"] | None,
    shares: Float[Array, " steps"],
) -> Callable:
    """An estimate that is shown some views nearly clean and leaves them as they are."""
    if shown is None:
        return estimate
    rows = shown[:, None, None, None]
    clean = jax.lax.stop_gradient(latents)
    given = noised(clean, noise, shares[CLEAR])

    def others(z: Float[Array, "v h w c"], t: Int[Array, ""]) -> Array:
        seen = estimate(jnp.where(rows, given, z), jnp.where(shown, CLEAR, t))
        return jnp.where(rows, clean, seen)

    return others


def read_pictures(
    prior: Prior, weights: Params, latents: Float[Array, "v h w c"]
) -> tuple[Float[Array, "v x y 3"], Float[Array, "v x y"]]:
    """Colors before gray and masks that latents stand for, in [0, 1]."""
    assert prior.decode_mask is not None  # `read_prior` has looked
    pair = prior.decode(weights, latents), prior.decode_mask(weights, latents)
    color, mask = (jnp.clip(x, 0.0, 1.0) for x in pair)
    return color, mask


def completion_loss(
    prior: Prior,
    pictures: tuple[Float[Array, "v h w 3"], Float[Array, "v h w"]],
    wanted: tuple[Float[Array, "v x y 3"], Float[Array, "v x y"]],
    *,
    color: float,
) -> Float[Array, ""]:
    """Half the mean squared distance of masks, and ``color`` times that of colors.

    They are apart because the prior guesses colors: where it guesses others than the
    clip's at the edge of what was seen, a surface would rather vanish than have them.
    """
    ours = (pictures[0] + (1.0 - pictures[1][..., None]) * GRAY, pictures[1][..., None])
    size = (prior.image_size, prior.image_size)
    ours = (resize(x, size) for x in ours)
    theirs = (wanted[0], wanted[1][..., None])
    of_color, of_mask = (distill_loss(a, b) for a, b in zip(ours, theirs, strict=True))
    return of_mask + color * of_color


def background(config: Any, key: Key) -> Float[Array, "3"] | None:
    """A color behind the object for priors without alpha; None is their own gray.

    At random, half of the time white: against one color alone, fog of that color would
    cost nothing.
    """
    if config.csd.background == "gray":
        return None
    if config.csd.background == "white":
        return jnp.ones(3)
    coin, paint = jax.random.split(key)
    return jnp.where(
        jax.random.bernoulli(coin), jax.random.uniform(paint, (3,)), jnp.ones(3)
    )


def clean_pair(prior: Prior, frozen: dict, seen: Camera) -> Callable:
    """A function (noised, t) -> clean latents, without and with the prompt."""
    denoise = partial(prior.denoise, frozen["prior"])

    def pair(z, t):
        each = jnp.broadcast_to(t, z.shape[:1])
        both = predict_pair(denoise, z, t, frozen["contexts"], seen)
        without, with_prompt = (clean_of(prior.schedule, x, z, each) for x in both)
        return without, with_prompt

    return pair


def clean_estimate(config: Any, prior: Prior, frozen: dict, seen: Camera) -> Callable:
    """A function (noised, t) -> clean latents, guided by the prompt and rescaled."""
    pair = clean_pair(prior, frozen, seen)

    def estimate(z, t):
        without, with_prompt = pair(z, t)
        pushed = guided(without, with_prompt, scale=config.csd.guidance)
        return rescaled(pushed, with_prompt, amount=config.csd.rescale)

    return estimate


def caption_part(
    config: Any,
    prior: Prior,
    frozen: dict,
    seen: Camera,
    z: Float[Array, "v h w c"],
    t: Int[Array, ""],
) -> Float[Array, "v h w c"]:
    """What the prompt adds to the clean estimate of noised latents, times the guidance.

    An estimate that is unsure of an outline is soft, with or without the prompt, and a
    solid that follows it shrinks (benchmarks/csd_push.py); the difference is nearly
    free of that (classifier score distillation, Yu et al. 2023).
    """
    without, with_prompt = clean_pair(prior, frozen, seen)(z, t)
    return config.csd.guidance * (with_prompt - without)
