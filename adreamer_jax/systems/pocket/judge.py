"""The judge: CLIP's two towers at toy size, taught to tell the zoo's animals apart.

It measures without a download whether a picture shows what a text says. Pictures and
captions are pulled together as in CLIP; since all attributes are known, a caption that
happens to be true of another picture of the batch is not held against it. Beside that,
every picture has to find its species among all, then its color and its pose among the
texts that name its species, which teaches a small network far faster than captions do.
Letters: b pictures, t texts, s species.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from adreamer_jax.data.captions import VOCABULARY, describe, prompt
from adreamer_jax.data.species import COLORS
from adreamer_jax.data.zoo import NATURAL
from adreamer_jax.data.zoo_views import composite
from adreamer_jax.prior.blocks import init_network
from adreamer_jax.prior.text import TextConfig
from adreamer_jax.prior.vision import (
    Clip,
    ClipConfig,
    VisionConfig,
    clip_image,
    clip_text,
    prepare_clip,
)
from adreamer_jax.prior.write import END, START, word_ids, write_clip
from adreamer_jax.systems.pocket import (
    bag_of_words,
    finish_step,
    make_optimizer,
    make_tokenizer,
    on_one_device,
    student,
    taught,
)
from adreamer_jax.systems.pocket.sets import (
    NAMES,
    Pieces,
    held_out_sets,
    numbers_of,
    possible_poses,
)
from adreamer_jax.types import Array, Bool, Float, Int, Key, Params, System, TrainState

__all__ = ["make", "write"]

ATTRIBUTES = tuple(NAMES)
UNSAID = -1
WORDLESS = {"color": NATURAL, "pattern": "plain", "build": "normal"}
ASKED = ("species", "color", "pose")  # what a picture has to find among texts
PLACES = [ATTRIBUTES.index(name) for name in ASKED]
IMPOSSIBLE = -1e4  # finite: the temperature is multiplied by it in the gradient
TEXTS = 1  # beside seed and number: a shelf's rows are drawn by those two alone
SAID = 0.6  # chance of each attribute but the species to be named


class Glance(NamedTuple):
    """What chance decides of a batch."""

    row: Int[Array, " b"]
    view: Int[Array, " b"]
    mirror: Array
    shift: Int[Array, "b 2"]
    loud: Float[Array, " b"]


def make(config: Any, cache: Path) -> tuple[System, dict[str, Any]]:
    """The system that trains a judge, and its constant arrays."""
    networks = clip_of(config)
    tokenize = make_tokenizer(networks.text)
    on_one_device(config)
    pieces = Pieces(config, cache)
    optimizer = make_optimizer(config)
    frozen = frozen_of(config, cache, tokenize)
    key = jax.random.key(config.run.seed)
    frozen["start"] = fresh_params(networks, key)  # drawn on the host
    examine = jax.jit(partial(right_answers, networks))

    def teach(sets: dict, number: int) -> dict[str, Array]:
        random = np.random.default_rng([config.run.seed, number, TEXTS])
        return lessons(random, sets, tokenize)

    system = student(
        config,
        optimizer,
        fresh_upkeep(config, networks),
        sample=lambda frozen, key, step: draw_glance(config, key, step),
        step=partial(train_step, config, networks, optimizer),
        maintain=taught(config, pieces, teach, examine),
        preview=lambda state, frozen: {},
    )
    return system, frozen


def clip_of(config: Any) -> ClipConfig:
    """Sizes of both towers as the recipe says them."""
    sizes = config.judge
    text = TextConfig(
        vocab_size=len(word_ids(VOCABULARY)),
        bos_token_id=START,
        eos_token_id=END,
        **sizes.text,
    )
    vision = VisionConfig(
        image_size=config.data.size,
        projection_dim=sizes.projection_dim,
        **sizes.vision,
    )
    return ClipConfig(text, vision, sizes.projection_dim)


def fresh_params(networks: ClipConfig, key: Key) -> Params:
    """Random towers whose cosines start with CLIP's temperature."""
    side = networks.vision.image_size
    ids = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    picture = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    params = dict(init_network(key, Clip(networks), ids, picture))
    params |= bag_of_words({"text_model": params["text_model"]})
    return params | {"logit_scale": jnp.asarray(np.log(1 / 0.07), jnp.float32)}


def fresh_upkeep(config: Any, networks: ClipConfig) -> dict[str, Any]:
    """An empty shelf; the first step fills it."""
    count, size = config.run.shelf_steps * config.run.batch, config.data.size
    tokens = networks.text.max_position_embeddings
    return {
        "images": jnp.zeros((count, 4, size, size, 4), jnp.uint8),
        "ids": jnp.zeros((count, tokens), jnp.int32),
        "said": jnp.zeros((count, len(ATTRIBUTES)), jnp.int32),
        "shown": jnp.zeros((count, len(ATTRIBUTES)), jnp.int32),
        "right": jnp.zeros((3,)),
        "skipped": jnp.zeros((), jnp.int32),
    }


# -- texts ----------------------------------------------------------------------------


def lessons(random: np.random.Generator, sets: dict, tokenize) -> dict[str, Array]:
    """Pictures, and a text for each that names some of what is shown."""
    shown = heard(numbers_of(sets, ATTRIBUTES))
    said = np.where(random.random(shown.shape) < SAID, shown, UNSAID)
    said[:, 0] = shown[:, 0]
    said[without_word(said)] = UNSAID
    return {
        "images": jnp.asarray(sets["images"]),
        "ids": jnp.asarray(tokenize([_spoken(random, row) for row in said])),
        "said": jnp.asarray(said, jnp.int32),
        "shown": jnp.asarray(shown, jnp.int32),
    }


def heard(shown: Int[np.ndarray, "b a"]) -> Int[np.ndarray, "b a"]:
    """What pictures show, told apart no finer than by words: nets are patches, too."""
    place, names = ATTRIBUTES.index("pattern"), NAMES["pattern"]
    out = shown.copy()
    out[out[:, place] == names.index("netted"), place] = names.index("patched")
    return out


def without_word(said: Int[np.ndarray, "b a"]) -> Bool[np.ndarray, "b a"]:
    """Where what is to be said has no word: the text says nothing of it then."""
    out = np.zeros(said.shape, bool)
    for name, value in WORDLESS.items():
        place = ATTRIBUTES.index(name)
        out[:, place] = said[:, place] == NAMES[name].index(value)
    return out


def _spoken(random, said: np.ndarray) -> str:
    words = {
        name: "" if i == UNSAID else NAMES[name][i]
        for name, i in zip(ATTRIBUTES, said, strict=True)
    }
    return describe(random, words.pop("species"), **words)


def may_be_true(
    said: Int[Array, "t a"], shown: Int[Array, "b a"]
) -> Bool[Array, "b t"]:
    """Whether nothing that a text says is wrong of a picture.

    What color a natural coat is called nobody knows, so any may be true.
    """
    unsaid = said[None] == UNSAID
    natural = len(COLORS)
    unknown = jnp.zeros_like(shown, bool)
    place = ATTRIBUTES.index("color")
    unknown = unknown.at[:, place].set(shown[:, place] == natural)
    return jnp.all(unsaid | unknown[:, None] | (said[None] == shown[:, None]), axis=-1)


# -- steps ----------------------------------------------------------------------------


def draw_glance(config: Any, key: Key, step: Int[Array, ""]) -> Glance:
    """Which pictures of the shelf, and how they are moved."""
    run, reach = config.run, config.loss_numbers.shift
    keys = jax.random.split(key, 4)
    return Glance(
        row=(step % run.shelf_steps) * run.batch + jnp.arange(run.batch),
        view=jax.random.randint(keys[0], (run.batch,), 0, 4),
        mirror=jax.random.bernoulli(keys[1], 0.5, (run.batch,)),
        shift=jax.random.randint(keys[2], (run.batch, 2), -reach, reach + 1),
        loud=jax.random.uniform(keys[3], (run.batch,)),
    )


def glimpsed(images: Array, glance: Glance) -> Float[Array, "b h w 3"]:
    """The pictures before gray, mirrored and shifted."""

    def one(views, view, mirror, shift):
        picture = views[view]
        picture = jnp.where(mirror, picture[:, ::-1], picture)
        return jnp.roll(picture, shift, axis=(0, 1))

    found = jax.vmap(one)(images, glance.view, glance.mirror, glance.shift)
    found = found.astype(jnp.float32) / 255.0
    return found[..., :3] + 0.5 * (1.0 - found[..., 3:])


def contrast(
    cosines: Float[Array, "b b"], true: Bool[Array, "b b"], scale: Float[Array, ""]
) -> Float[Array, ""]:
    """CLIP's loss both ways, blind to texts that are true of more than one picture.

    Text i is picture i's own.
    """
    own = jnp.arange(len(cosines))
    mine = jnp.eye(len(cosines), dtype=bool)
    logits = jnp.where(true & ~mine, -jnp.inf, scale * cosines)
    ways = (logits, logits.T)
    losses = [optax.softmax_cross_entropy_with_integer_labels(x, own) for x in ways]
    return 0.5 * (losses[0].mean() + losses[1].mean())


def train_step(
    config: Any,
    networks: ClipConfig,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    frozen: dict,
    glance: Glance,
    key: Key,
    axis: str | None = None,
):
    """The state after a step on a batch; one with non-finite numbers is skipped."""
    shelf_ = state.upkeep
    rows = glance.row
    pictures = glimpsed(shelf_["images"][rows], glance)
    noise = config.loss_numbers.noise * glance.loud[:, None, None, None]
    pictures = pictures + noise * jax.random.normal(key, pictures.shape)
    prepared = prepare_clip(pictures, networks.vision.image_size)
    shown = shelf_["shown"][rows]
    true = may_be_true(shelf_["said"][rows], shown)

    def loss_of(params: Params):
        params = params | {"text_model": with_fixed_words(params["text_model"])}
        seen = clip_image(networks, params, prepared)
        read = clip_text(networks, params, shelf_["ids"][rows])
        scale = jnp.exp(jnp.minimum(params["logit_scale"], np.log(100.0)))
        captions = contrast(seen @ read.T, true, scale)
        named = named_loss(asked(networks, params, frozen, seen, shown), shown, scale)
        loss = captions + named
        return loss, {"loss": loss, "loss/captions": captions, "scale": scale}

    names = [f"validation/{name}" for name in ASKED]
    seen = dict(zip(names, state.upkeep["right"], strict=True))
    return finish_step(config, optimizer, state, loss_of, seen, axis)


def asked(
    networks: ClipConfig,
    params: Params,
    tables: dict,
    seen: Float[Array, "b p"],
    shown: Int[Array, "b a"],
) -> tuple[Array, ...]:
    """Cosines of pictures with texts that name each species, color and pose.

    Color and pose are asked with the picture's own species said. A pose that a species
    cannot take has a cosine far below any other.
    """
    own = shown[:, 0]

    def read(name: str) -> Array:
        ids = tables[name]
        texts = clip_text(networks, params, ids.reshape(-1, ids.shape[-1]))
        return texts.reshape(*ids.shape[:-1], -1)

    among = lambda name: jnp.einsum("bp,bkp->bk", seen, read(name)[own])
    pose = jnp.where(tables["possible"][own], among("pose_ids"), IMPOSSIBLE)
    return seen @ read("species_ids").T, among("color_ids"), pose


def named_loss(
    found: tuple[Array, ...], shown: Int[Array, "b a"], scale: Float[Array, ""]
) -> Float[Array, ""]:
    """Cross-entropy of species, color and pose (nats); natural coats have no color."""
    species, color, pose = (scale * cosines for cosines in found)
    entropy = optax.softmax_cross_entropy_with_integer_labels
    s, c, p = (shown[:, place] for place in PLACES)
    colored = c < len(COLORS)
    of_color = entropy(color, jnp.where(colored, c, 0)) * colored
    rest = of_color.sum() / jnp.maximum(colored.sum(), 1)
    return entropy(species, s).mean() + rest + entropy(pose, p).mean()


def with_fixed_words(text: Params) -> Params:
    """A text tower whose words stay as they are; see `bag_of_words`."""
    return text | {"embeddings": jax.lax.stop_gradient(text["embeddings"])}


# -- examination ----------------------------------------------------------------------


def frozen_of(config: Any, cache: Path, tokenize) -> dict[str, Any]:
    """Unseen animals, and the texts among which species, color and pose are found."""
    sets = held_out_sets(config, cache, count=config.run.validation_sets)
    shown = numbers_of(sets, ATTRIBUTES)
    return {
        "pictures": jnp.asarray(composite(sets["images"][:, 0])),
        "shown": jnp.asarray(shown),
        **tables_of(tokenize),
    }


def tables_of(tokenize) -> dict[str, Array]:
    """Texts that name a species alone, with each color, with each pose: (s, k, tokens).

    ``possible`` says which poses a species can take.
    """
    names = NAMES["species"]
    species = [[prompt(name)] for name in names]
    color = [[prompt(name, color=c) for c in COLORS] for name in names]
    pose = [[prompt(name, pose=p) for p in NAMES["pose"]] for name in names]

    def ids(table: list[list[str]]) -> Int[Array, "s k tokens"]:
        found = np.asarray(tokenize([text for row in table for text in row]))
        longest = (found == END).argmax(axis=1).max() + 1  # what follows is not read
        return jnp.asarray(found[:, :longest].reshape(len(table), -1, longest))

    return {
        "species_ids": ids(species)[:, 0],
        "color_ids": ids(color),
        "pose_ids": ids(pose),
        "possible": jnp.asarray(possible_poses()),
    }


def right_answers(networks: ClipConfig, params: Params, exam: dict) -> Array:
    """Shares of unseen pictures whose species, color and pose are found.

    Held-out animals all have a color.
    """
    side = networks.vision.image_size
    seen = clip_image(networks, params, prepare_clip(exam["pictures"], side))
    found = asked(networks, params, exam, seen, exam["shown"])
    right = [
        jnp.argmax(cosines, axis=-1) == exam["shown"][:, place]
        for cosines, place in zip(found, PLACES, strict=True)
    ]
    return jnp.stack([r.mean() for r in right])


def write(config: Any, state: TrainState, folder: Path) -> Path:
    """Write the averaged towers as a CLIP folder in half precision."""
    average = jax.tree.map(np.asarray, state.opt_state["average"])
    write_clip(folder, clip_of(config), average, words=VOCABULARY)
    return folder
