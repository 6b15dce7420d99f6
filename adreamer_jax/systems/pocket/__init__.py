"""The pocket prior: a four-view diffusion model small enough to ship and to train.

It learns the project's own zoo and lies in the package, so that everything that needs a
prior runs without a download. Trained like any other system: `make` gives the pure
functions of a run, `write` the folder that `load_prior` reads.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from adreamer_jax.core.optimizer import finite_update
from adreamer_jax.core.shares import mean_tree
from adreamer_jax.data.captions import VOCABULARY
from adreamer_jax.prior.files import (
    find_folder,
    read_state,
    read_tokenizer,
)
from adreamer_jax.prior.load import read_part, read_schedule
from adreamer_jax.prior.text import TextConfig, init_text, text_names, text_shapes
from adreamer_jax.prior.unet_ldm import LdmConfig, init_unet_ldm, unet_ldm_shapes
from adreamer_jax.prior.write import (
    END,
    START,
    UNKNOWN,
    word_ids,
    write_prior,
    write_tokenizer,
)
from adreamer_jax.systems.pocket.learn import (
    VIEWS,
    Networks,
    Sample,
    chosen,
    draw_sample,
    objective,
)
from adreamer_jax.systems.pocket.look import (
    BANDS,
    KINDS,
    band_errors,
    look_at_prompts,
    names_of_bands,
    sheet,
)
from adreamer_jax.systems.pocket.sets import Pieces, held_out_sets, shelf
from adreamer_jax.types import Array, Key, Metrics, Params, System, TrainState

__all__ = ["make", "networks_of", "write"]

# 64 pixels a side tell an outline through four times the noise that 32 do: by cosine
# it was decided in the first of thirty steps (Hoogeboom et al. 2023, section 3).
SCHEDULE = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.025,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "steps_offset": 0,
    "set_alpha_to_one": True,
}


def make(config: Any, cache: Path) -> tuple[System, dict[str, Any]]:
    """The system that trains a prior, and its constant arrays.

    Pieces of the zoo are kept in the folder ``cache``.
    """
    networks = networks_of(config)
    tokenize = make_tokenizer(networks.text)
    pieces = Pieces(config, cache)
    frozen = frozen_of(config, cache, tokenize)
    frozen["start"] = start_params(config, networks)  # drawn or read on the host
    optimizer = make_optimizer(config)
    judge = jax.jit(partial(band_errors, networks))
    show = jax.jit(partial(look_at_prompts, config, networks))

    def maintain(state: TrainState, frozen: dict, step: int) -> TrainState:
        if step % config.run.shelf_steps == 0:
            number = step // config.run.shelf_steps
            state = with_shelf(config, pieces, tokenize, state, number)
        if exam_due(config, step):
            errors = judge(state.opt_state["average"], frozen["validation"])
            state = state.replace(upkeep=state.upkeep | {"errors": errors})
        return state

    def preview(state: TrainState, frozen: dict) -> dict[str, np.ndarray]:
        scenes = show(state.opt_state["average"], frozen)
        return {"samples": sheet(np.asarray(scenes))}

    system = student(
        config,
        optimizer,
        fresh_upkeep(config, networks),
        sample=lambda frozen, key, step: draw_sample(config, key, step),
        step=partial(train_step, config, networks, optimizer),
        maintain=maintain,
        preview=preview,
    )
    return system, frozen


def student(
    config: Any,
    optimizer: optax.GradientTransformation,
    upkeep: dict[str, Any],
    **functions: Callable,
) -> System:
    """A system that learns from the zoo, with an average of its weights, and no object.

    It begins with ``frozen["start"]``; the rest of its functions are handed in.
    """

    def init(key: Key, frozen: dict) -> TrainState:
        params = frozen["start"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state={"adam": optimizer.init(params), "average": params},
            upkeep=upkeep,
        )

    return System(
        init=init,
        render=no_object,
        asset=no_object,
        surface=no_object,
        num_steps=config.run.steps,
        **functions,
    )


def taught(
    config: Any, pieces: Pieces, lessons: Callable, examine: Callable
) -> Callable:
    """The upkeep of a student that is examined: a new shelf, and now and then an exam.

    ``lessons(sets, number)`` are the arrays of shelf ``number``; ``examine(weights,
    frozen)`` are shares of right answers, kept as "right".
    """

    def maintain(state: TrainState, frozen: dict, step: int) -> TrainState:
        upkeep = state.upkeep
        if step % config.run.shelf_steps == 0:
            number = step // config.run.shelf_steps
            sets = shelf(config, pieces, number)
            pieces.expect(config.data.pieces_at_start + number)
            upkeep = upkeep | lessons(sets, number)
        if exam_due(config, step):
            upkeep = upkeep | {"right": examine(state.opt_state["average"], frozen)}
        return state.replace(upkeep=upkeep)

    return maintain


def exam_due(config: Any, step: int) -> bool:
    """Whether there is an exam before a step: at first, and before every last one.

    What is logged after ``validate_every`` steps, and at the end, is of the weights
    before the last of them.
    """
    done, run = step + 1, config.run
    return step == 0 or done % run.validate_every == 0 or done == run.steps


def on_one_device(config: Any) -> None:
    """Refuse several devices: shares of a batch would have each other's noise."""
    devices = config.run.get("devices", 1)
    if devices != 1:
        raise ValueError(
            f"run.devices must be 1 for this small network, got {devices}; write "
            "--config.run.devices=1"
        )


def no_object(*_: Any) -> Any:
    """Refuse what only a model of a clip can do."""
    raise ValueError(
        "--job must be train or export, got one that needs a 3D model; this recipe "
        "trains a prior"
    )


def networks_of(config: Any) -> Networks:
    """Sizes of both networks as the recipe says them."""
    scene = config.prior
    channels = (4 if scene.alpha else 3) * scene.block**2
    text = TextConfig(
        vocab_size=len(word_ids(VOCABULARY)),
        bos_token_id=START,
        eos_token_id=END,
        **scene.text,
    )
    sizes: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list | tuple) else value
        for name, value in scene.unet.items()
    }
    unet = LdmConfig(
        in_channels=channels,
        out_channels=channels,
        context_dim=text.hidden_size,
        position_size=config.data.size // scene.block if scene.positions else None,
        **sizes,
    )
    schedule = read_schedule(SCHEDULE)
    dtype = jnp.dtype(scene.dtype)
    return Networks(unet, text, schedule, scene.block, scene.alpha, dtype)


def make_tokenizer(text: TextConfig):
    """Texts to ids, by the very files that the finished prior holds."""
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder), VOCABULARY)
        return read_tokenizer(
            Path(folder),
            length=text.max_position_embeddings,
            vocabulary=text.vocab_size,
        )


def frozen_of(config: Any, cache: Path, tokenize) -> dict[str, Any]:
    """Held-out sets, the sheet's prompts, and the ids of no text at all."""
    sets = held_out_sets(config, cache, count=config.run.validation_sets)
    validation = {
        "images": jnp.asarray(sets["images"]),
        "cameras": jnp.asarray(sets["cameras"]),
        "ids": jnp.asarray(tokenize([str(x) for x in sets["captions"]])),
    }
    return {
        "validation": validation,
        "prompts": jnp.asarray(tokenize(list(config.sheet.prompts))),
        "silence": jnp.asarray(tokenize([""])[0]),
    }


def make_optimizer(config: Any) -> optax.GradientTransformation:
    """Clipped Adam, warmed up, steady, and slowed down over the last part."""
    numbers, steps = config.optimizer, config.run.steps

    def rate(step: Any) -> Array:
        warm = jnp.minimum(1.0, (step + 1) / numbers.warmup)
        left = jnp.clip((1.0 - step / steps) / numbers.cooldown, 0.0, 1.0)
        return numbers.lr * warm * (numbers.end + (1.0 - numbers.end) * left)

    return optax.chain(
        optax.clip_by_global_norm(numbers.clip),
        optax.scale_by_adam(b1=numbers.b1, b2=numbers.b2),
        optax.scale_by_learning_rate(rate),
    )


def start_params(config: Any, networks: Networks) -> Params:
    """Fresh weights, or those of a finished prior that the recipe starts from."""
    name = config.run.start_from
    if not name:
        keys = jax.random.split(jax.random.key(config.run.seed))
        return {
            "unet": init_unet_ldm(keys[0], networks.unet),
            "text": bag_of_words(init_text(keys[1], networks.text)),
        }
    folder = find_folder(name)
    depth = networks.text.num_hidden_layers
    read = {
        "unet": lambda: read_state(folder / "unet"),
        "text": lambda: text_names(read_state(folder / "text_encoder"), depth=depth),
    }
    shapes = {
        "unet": unet_ldm_shapes(networks.unet),
        "text": text_shapes(networks.text),
    }
    return {
        part: read_part(
            read[part], shapes[part], dtype=jnp.float32, what=f"the {part} of {folder}"
        )
        for part in read
    }


def bag_of_words(text: Params) -> Params:
    """A fresh text tower in which words are loud and all else is silent.

    Start, end and padding have no vector and no place has one, so every token behind
    the words holds a mixture of just those words, and no text at all reads as zero.
    That much is readable from the first step on, and training leaves it as it is:
    with CLIP's own start a short training did not learn to listen.
    """
    old = text["text_model"]["embeddings"]
    words = old["token_embedding"]["embedding"]
    words = (words / jnp.std(words)).at[: UNKNOWN + 1].set(0.0)
    places = jnp.zeros_like(old["position_embedding"]["embedding"])
    embeddings = {
        "token_embedding": {"embedding": words},
        "position_embedding": {"embedding": places},
    }
    return {"text_model": text["text_model"] | {"embeddings": embeddings}}


def fresh_upkeep(config: Any, networks: Networks) -> dict[str, Any]:
    """An empty shelf; the first step fills it."""
    count, size = config.run.shelf_steps * config.run.batch, config.data.size
    tokens = networks.text.max_position_embeddings
    return {
        "images": jnp.zeros((count, VIEWS, size, size, 4), jnp.uint8),
        "cameras": jnp.zeros((count, VIEWS, 16)),
        "ids": jnp.zeros((count, tokens), jnp.int32),
        "errors": jnp.zeros((BANDS, len(KINDS))),
        "skipped": jnp.zeros((), jnp.int32),
    }


def with_shelf(
    config: Any, pieces: Pieces, tokenize, state: TrainState, number: int
) -> TrainState:
    """The state with shelf ``number`` in its upkeep; the next piece is begun."""
    sets = shelf(config, pieces, number)
    pieces.expect(config.data.pieces_at_start + number)
    new = {
        "images": jnp.asarray(sets["images"]),
        "cameras": jnp.asarray(sets["cameras"]),
        "ids": jnp.asarray(tokenize([str(x) for x in sets["captions"]])),
    }
    return state.replace(upkeep=state.upkeep | new)


def train_step(
    config: Any,
    networks: Networks,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    frozen: dict,
    sample: Sample,
    key: Key,
    axis: str | None = None,
) -> tuple[TrainState, Metrics]:
    """The state after a step on a batch."""
    views = chosen(networks, state.upkeep, sample, frozen["silence"])

    def loss_of(params: Params):
        params = params | {"text": jax.lax.stop_gradient(params["text"])}
        return objective(config, networks, params, views, sample, key)

    names = names_of_bands(networks.schedule.alphas_cumprod.shape[0])
    seen = dict(zip(names, state.upkeep["errors"].reshape(-1), strict=True))
    return finish_step(config, optimizer, state, loss_of, seen, axis)


def finish_step(
    config: Any,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    loss_of: Callable,
    seen: Metrics,
    axis: str | None,
) -> tuple[TrainState, Metrics]:
    """The state after one update along a loss, unless a number is not finite.

    ``seen`` are figures of the last examination, to be said with the others.
    """
    (_, metrics), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    grads, metrics = mean_tree((grads, metrics), axis)
    old = state.opt_state
    params, adam, finite = finite_update(
        optimizer, state.params, old["adam"], grads, metrics["loss"]
    )
    average = averaged(old["average"], params, state.step, config.run.keep)
    keep = lambda a, b: jnp.where(finite, a, b)
    average = jax.tree.map(keep, average, old["average"])
    skipped = state.upkeep["skipped"] + jnp.logical_not(finite).astype(jnp.int32)
    state = state.replace(
        step=state.step + 1,
        params=params,
        opt_state={"adam": adam, "average": average},
        upkeep=state.upkeep | {"skipped": skipped},
    )
    norm = optax.tree.norm(grads)
    more = {"skipped": skipped.astype(jnp.float32), "grad/norm": norm}
    return state, metrics | more | seen


def averaged(average: Params, params: Params, step: Array, keep: float) -> Params:
    """The moving average of weights, short while there is little to average."""
    share = jnp.minimum(keep, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: share * a + (1.0 - share) * p, average, params)


def sets_before(config: Any) -> int:
    """How many sets the weights had learned from that the run started with."""
    name = config.run.start_from
    if not name:
        return 0
    index = json.loads((find_folder(name) / "model_index.json").read_text())
    return index.get("trained_sets", 0)


def write(config: Any, state: TrainState, folder: Path) -> Path:
    """Write the averaged weights as a prior's folder in half precision."""
    networks = networks_of(config)
    average = jax.tree.map(np.asarray, state.opt_state["average"])
    write_prior(
        folder,
        index={
            "image_size": config.data.size,
            "pixel_block": networks.block,
            "shows_views": config.loss_numbers.shown > 0,
            "trained_sets": sets_before(config) + int(state.step) * config.run.batch,
        },
        unet=(networks.unet, average["unet"]),
        text=(networks.text, average["text"]),
        words=VOCABULARY,
        schedule=SCHEDULE,
    )
    return folder
