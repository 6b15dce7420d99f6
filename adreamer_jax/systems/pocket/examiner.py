"""The examiner: names what is seen in a few views of one zoo animal.

A small convolutional classifier, independent of the prior: it learns from other
individuals (the judge's), without text. The judge measures whether a picture fits a
sentence, as CLIP does; the examiner says which of all species, colors and poses is
shown, and is right often enough on true renders that its answers about drawn ones mean
something. It sees all views of an animal at once and averages what it found in each.
Letters: b animals, v views, n names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from adreamer_jax.core.image import resize
from adreamer_jax.data.species import COLORS
from adreamer_jax.data.zoo_views import composite
from adreamer_jax.prior.blocks import GroupNorm, conv3, init_network
from adreamer_jax.prior.files import read_config, read_state
from adreamer_jax.prior.load import pixels_to_blocks, read_part
from adreamer_jax.prior.write import write_network
from adreamer_jax.systems.pocket import (
    finish_step,
    make_optimizer,
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
from adreamer_jax.types import Array, Float, Int, Key, Params, System, TrainState

__all__ = ["ASKED", "Answers", "load_examiner", "make", "named", "write"]

ASKED = ("species", "color", "pose")
GROUPS = 8  # of channels that are normalized together


class Answers(NamedTuple):
    """Scores of every name; the highest is the answer.

    ``color`` is among the twelve that can be named: of natural coats it says which
    is nearest.
    """

    species: Float[Array, "*b n"]
    color: Float[Array, "*b n"]
    pose: Float[Array, "*b n"]


class Glance(NamedTuple):
    """What chance decides of a batch."""

    row: Int[Array, " b"]
    mirror: Array  # [b v]
    shift: Int[Array, "b v 2"]
    blur: Float[Array, " b"]
    loud: Float[Array, " b"]


class Examiner(nn.Module):
    """Residual stages, each at half the last one's resolution, and three answers."""

    channels: tuple[int, ...]

    @nn.compact
    def __call__(self, views: Float[Array, "b v h w 3"]) -> Answers:
        """Return the scores of all names; pictures are in [0, 1] before gray."""
        x = 2.0 * views.reshape(-1, *views.shape[2:]) - 1.0
        for i, width in enumerate(self.channels):
            # blocks instead of strides, whose gradient XLA computes slowly on a CPU
            x = nn.Dense(width, name=f"enter_{i}")(pixels_to_blocks(x, 2))
            x = _residual(x, width, i)
        x = nn.silu(GroupNorm(GROUPS, name="norm_out")(x))
        both = jnp.concatenate([x.mean((1, 2)), x.max((1, 2))], axis=-1)
        found = both.reshape(*views.shape[:2], -1).mean(1)
        found = nn.silu(nn.Dense(2 * self.channels[-1], name="found")(found))
        answer = lambda name, n: nn.Dense(n, name=name)(found)
        return Answers(
            species=answer("species", len(NAMES["species"])),
            color=answer("color", len(COLORS)),
            pose=answer("pose", len(NAMES["pose"])),
        )


def _residual(x: Array, width: int, stage: int) -> Array:
    h = x
    for part in ("a", "b"):
        h = nn.silu(GroupNorm(GROUPS, name=f"norm_{part}_{stage}")(h))
        h = conv3(width, f"conv_{part}_{stage}", jnp.float32)(h)
    return x + h


# -- training -------------------------------------------------------------------------


def make(config: Any, cache: Path) -> tuple[System, dict[str, Any]]:
    """The system that trains an examiner, and its constant arrays."""
    on_one_device(config)
    network = network_of(config)
    pieces = Pieces(config, cache)
    optimizer = make_optimizer(config)
    frozen = exam_of(config, cache)
    frozen["start"] = start_params(network, config)
    examine = jax.jit(partial(right_answers, network))

    system = student(
        config,
        optimizer,
        fresh_upkeep(config),
        sample=lambda frozen, key, step: draw_glance(config, key, step),
        step=partial(train_step, config, network, optimizer),
        maintain=taught(config, pieces, lessons, examine),
        preview=lambda state, frozen: {},
    )
    return system, frozen


def network_of(config: Any) -> Examiner:
    """The network at the recipe's size."""
    return Examiner(tuple(config.examiner.channels))


def start_params(network: Examiner, config: Any) -> Params:
    """Fresh weights, or those of a folder (examiner: the embedded one)."""
    name, side = config.run.start_from, config.data.size
    if name:
        folder = embedded_examiner() if name == "examiner" else Path(name)
        return read_weights(network, folder, side)
    views = jax.ShapeDtypeStruct((1, 4, side, side, 3), jnp.float32)
    key = jax.random.key(config.run.seed)
    return dict(init_network(key, network, views))


def fresh_upkeep(config: Any) -> dict[str, Any]:
    """An empty shelf; the first step fills it."""
    count, size = config.run.shelf_steps * config.run.batch, config.data.size
    return {
        "images": jnp.zeros((count, 4, size, size, 4), jnp.uint8),
        "shown": jnp.zeros((count, len(ASKED)), jnp.int32),
        "right": jnp.zeros((len(ASKED),)),
        "skipped": jnp.zeros((), jnp.int32),
    }


def lessons(sets: dict, number: int = 0) -> dict[str, Array]:
    """Pictures and what they show, as places in `NAMES`; the same for any shelf."""
    return {
        "images": jnp.asarray(sets["images"]),
        "shown": jnp.asarray(numbers_of(sets, ASKED), jnp.int32),
    }


def exam_of(config: Any, cache: Path) -> dict[str, Any]:
    """Unseen animals in combinations that no training sees."""
    sets = held_out_sets(config, cache, count=config.run.validation_sets)
    return {
        "pictures": jnp.asarray(composite(sets["images"])),
        "shown": jnp.asarray(numbers_of(sets, ASKED)),
    }


def draw_glance(config: Any, key: Key, step: Int[Array, ""]) -> Glance:
    """Which sets of the shelf, and how their pictures are changed."""
    run, numbers = config.run, config.loss_numbers
    keys = jax.random.split(key, 4)
    count = run.batch
    reach = numbers.shift
    return Glance(
        row=(step % run.shelf_steps) * count + jnp.arange(count),
        mirror=jax.random.bernoulli(keys[0], 0.5, (count, 4)),
        shift=jax.random.randint(keys[1], (count, 4, 2), -reach, reach + 1),
        blur=numbers.blur * jax.random.uniform(keys[2], (count,)),
        loud=numbers.noise * jax.random.uniform(keys[3], (count,)),
    )


def glimpsed(images: Array, glance: Glance, key: Key) -> Float[Array, "b v h w 3"]:
    """The pictures before gray, mirrored, shifted, blurred and with grain.

    A drawn picture is softer and grainier than a rendered one, and must not be taken
    for another species because of that.
    """

    def one(picture, mirror, shift):
        picture = jnp.where(mirror, picture[:, ::-1], picture)
        return jnp.roll(picture, shift, axis=(0, 1))

    found = jax.vmap(jax.vmap(one))(images, glance.mirror, glance.shift)
    found = found.astype(jnp.float32) / 255.0
    found = found[..., :3] + 0.5 * (1.0 - found[..., 3:])
    around = sum(jnp.roll(found, s, axis=a) for s in (-1, 1) for a in (2, 3)) / 4.0
    amount = glance.blur[:, None, None, None, None]
    found = (1.0 - amount) * found + amount * around
    grain = glance.loud[:, None, None, None, None]
    return found + grain * jax.random.normal(key, found.shape)


def train_step(
    config: Any,
    network: Examiner,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    frozen: dict,
    glance: Glance,
    key: Key,
    axis: str | None = None,
):
    """The state after a step on a batch; one with non-finite numbers is skipped."""
    pictures = glimpsed(state.upkeep["images"][glance.row], glance, key)
    shown = state.upkeep["shown"][glance.row]

    def loss_of(params: Params):
        found: Any = network.apply({"params": params}, pictures)
        parts = named_loss(found, shown)
        total = sum(parts.values(), jnp.zeros(()))
        return total, {"loss": total} | {f"loss/{k}": v for k, v in parts.items()}

    names = [f"validation/{name}" for name in ASKED]
    seen = dict(zip(names, state.upkeep["right"], strict=True))
    return finish_step(config, optimizer, state, loss_of, seen, axis)


def named_loss(found: Answers, shown: Int[Array, "b 3"]) -> dict[str, Float[Array, ""]]:
    """Cross-entropy of each answer (nats); natural coats have no color to be named."""
    entropy = optax.softmax_cross_entropy_with_integer_labels
    species, color, pose = (shown[:, i] for i in range(3))
    named = color < len(COLORS)
    of_color = entropy(found.color, jnp.where(named, color, 0)) * named
    return {
        "species": entropy(found.species, species).mean(),
        "color": of_color.sum() / jnp.maximum(named.sum(), 1),
        "pose": entropy(found.pose, pose).mean(),
    }


def right_answers(network: Examiner, params: Params, exam: dict) -> Float[Array, "3"]:
    """Shares of unseen animals whose species, color and pose are found.

    The pose is asked among those that the species takes. Held-out animals all have a
    color.
    """
    count = len(exam["pictures"])
    chunks = exam["pictures"].reshape(-1, _chunk(count), *exam["pictures"].shape[1:])
    found = jax.lax.map(lambda x: network.apply({"params": params}, x), chunks)
    species, color, pose = (x.reshape(count, -1) for x in found)
    shown = exam["shown"]
    pose = jnp.where(jnp.asarray(possible_poses())[shown[:, 0]], pose, -jnp.inf)
    answers = (species, color, pose)
    return jnp.stack(
        [(jnp.argmax(a, -1) == shown[:, i]).mean() for i, a in enumerate(answers)]
    )


def _chunk(count: int, most: int = 64) -> int:
    """The largest number of sets up to ``most`` that divides all of them."""
    return max(n for n in range(1, min(count, most) + 1) if count % n == 0)


# -- files ----------------------------------------------------------------------------


def write(config: Any, state: TrainState, folder: Path) -> Path:
    """Write the averaged weights in half precision, and what they belong to."""
    network = network_of(config)
    average = jax.tree.map(np.asarray, state.opt_state["average"])
    settings = {"image_size": config.data.size, "channels": list(network.channels)}
    settings |= {name: list(NAMES[name]) for name in ASKED}
    write_network(folder, settings, average)
    return folder


def embedded_examiner() -> Path:
    """The folder of the examiner that lies in the package."""
    from adreamer_jax import prior

    return Path(prior.__file__).parent / "examiner"


def named(scores: Float[np.ndarray, " n"], what: str, among: Sequence[str] = ()) -> str:
    """The species, color or pose (``what``) with the highest score, of those allowed.

    ``scores`` are one row of an answer; without ``among`` all its names are allowed.
    """
    names = NAMES[what][: len(scores)]
    return max(among or names, key=lambda name: scores[names.index(name)])


def read_weights(network: Examiner, folder: Path, side: int) -> Params:
    """The weights of a folder; raises ValueError where they are not the network's."""
    views = jnp.zeros((1, 1, side, side, 3))
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), views))["params"]
    return read_part(
        lambda: read_state(folder), shapes, dtype=jnp.float32, what=f"those of {folder}"
    )


def load_examiner(folder: Path | None = None) -> Callable:
    """A function of pictures [n, v, h, w, 3] before gray to `Answers` [n, names].

    They are scaled to the size that it knows. Without a folder the embedded one. Raises
    ValueError where its names are not those of the zoo.
    """
    folder = embedded_examiner() if folder is None else Path(folder)
    config = read_config(folder)
    for name in ASKED:
        if tuple(config[name]) != NAMES[name]:
            raise ValueError(
                f"{folder} must know the zoo's {name} names, got {config[name]}; train "
                "it anew with configs/examiner.py"
            )
    side = config["image_size"]
    network = Examiner(tuple(config["channels"]))
    params = read_weights(network, folder, side)

    @jax.jit
    def see(params: Params, pictures: Float[Array, "n v h w 3"]) -> Any:
        return network.apply({"params": params}, resize(pictures, (side, side)))

    def answer(pictures: Float[np.ndarray, "n v h w 3"]) -> Answers:
        if pictures.ndim != 5 or pictures.shape[-1] != 3:
            raise ValueError(
                f"pictures must be [n, v, h, w, 3], got {tuple(pictures.shape)}; put "
                "the views of an animal together"
            )
        return jax.tree.map(np.asarray, see(params, jnp.asarray(pictures, jnp.float32)))

    return answer
