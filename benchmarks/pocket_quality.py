"""What the pocket prior draws: does it show what the text says, from all four sides?

    python benchmarks/pocket_quality.py [--prior=FOLDER] [--judge=FOLDER] [--out=DIR]

Draws four-view scenes of random captions, half of them held out from training, asks
the examiner (a classifier) for species, color and pose, the judge (a CLIP) for the same
and for the scene's own text, and compares the four outlines with those of their visual
hull. True renders of the same captions, by other seeds, stand beside; the
four views of four different renders show what no consistency scores. Prints tables and
writes sheet.png (24 prompts; a red edge: held out), with --out to that folder.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from timing import table

from adreamer_jax.core.camera import orbit
from adreamer_jax.data import zoo
from adreamer_jax.data.captions import prompt
from adreamer_jax.data.gait import poses_of
from adreamer_jax.data.species import COLORS, SPECIES, TRAINING_SPECIES
from adreamer_jax.data.zoo_views import composite, sample_sets
from adreamer_jax.prior.load import Prior, load_prior
from adreamer_jax.prior.noise import timesteps
from adreamer_jax.run.sample import embed, make_step
from adreamer_jax.run.text_score import Judge, load_judge
from adreamer_jax.systems.animatable import generation_fit
from adreamer_jax.systems.pocket.examiner import ASKED, load_examiner, named
from adreamer_jax.types import Camera, Float

AZIMUTH, ELEVATION = np.radians(35.0), np.radians(15.0)
SEED = 7  # of captions and true renders: no training uses it
CELLS = 40  # of the visual hull, a side
LENSES = (35.0, 45.0, 60.0)  # degrees: the zoo's fields of view
FILLS = (0.75, 0.85, 0.95, 1.05, 1.15)  # diameter of the animal's ball over the height


class Wish(NamedTuple):
    """What a scene should show."""

    species: str
    color: str
    pose: str

    @property
    def text(self) -> str:
        return prompt(self.species, color=self.color, pose=self.pose)

    @property
    def held_out(self) -> bool:
        return zoo.is_held_out(self.species, self.pose, self.color)


def wishes(count: int) -> list[Wish]:
    """Colored animals, every other one of the held-out side."""
    found = []
    for i in range(count):
        random = zoo.generator(SEED, "evaluation", i)
        one = zoo.sample_individual(random, held_out=bool(i % 2), natural=0.0)
        found.append(Wish(one.species, one.color, one.pose))
    return found


# -- pictures -------------------------------------------------------------------------


def views(lens: float = 45.0, fill: float = 0.95, size: int = 32) -> Camera:
    """The four cameras of every scene; the prior reads directions alone."""
    fov = np.radians(lens)
    turn = jnp.asarray(AZIMUTH + np.arange(4) * np.pi / 2, jnp.float32)
    ones = jnp.ones(4)
    distance = 0.96 / np.sin(fov / 2) / fill
    return orbit(turn, ELEVATION * ones, distance * ones, fov * ones, size=(size, size))


def drawn(
    prior: Prior, weights: Any, texts: list[str], *, steps: int, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Colors [n, 4, h, w, 3] before gray, and masks [n, 4, h, w], of all texts."""
    step = make_step(prior, scale=scale, rescale=0.5, eta=0.0)
    cameras = views(size=prior.image_size)
    many = jax.jit(jax.vmap(step, in_axes=(None, 0, None, None, 0, None, 0)))
    show = jax.jit(jax.vmap(partial(_shown, prior), in_axes=(None, 0)))
    silent = embed(prior, weights, ("",))
    results = []
    for first in range(0, len(texts), 8):
        some = texts[first : first + 8]
        some = [*some, *[""] * (8 - len(some))]
        context = jnp.stack([jnp.broadcast_to(silent, (8, *silent.shape[1:])),
                             embed(prior, weights, tuple(some))], 1)  # fmt: skip
        keys = jax.random.split(jax.random.fold_in(jax.random.key(SEED), first), 8)
        z = jax.vmap(lambda k: jax.random.normal(k, (4, *prior.latent_shape)))(keys)
        times = timesteps(prior.schedule, steps)
        for t, before in zip(times, [*times[1:], -1], strict=True):
            z = many(weights, z, jnp.int32(t), jnp.int32(before), context, cameras,
                     keys)  # fmt: skip
        results.append([np.asarray(x) for x in show(weights, z)])
    color, mask = (np.concatenate(x)[: len(texts)] for x in zip(*results, strict=True))
    return color.clip(0, 1), mask


def _shown(prior: Prior, weights: Any, z: Any) -> tuple[Any, Any]:
    color = prior.decode(weights, z)
    if prior.decode_mask is not None:
        return color, prior.decode_mask(weights, z)
    return color, jnp.abs(color - 0.5).max(-1) / 0.1  # gray is background


def rendered(
    asked: list[Wish], size: int, seed: int = SEED
) -> tuple[np.ndarray, np.ndarray]:
    """True renders of the wishes from the same elevation, and any azimuth."""
    turn = (np.degrees(ELEVATION),) * 2
    images = np.concatenate([
        sample_sets(
            seed, 1, size, start=i, stream="evaluation", held_out=None,
            elevation_deg=turn, **w._asdict(),
        )["images"]
        for i, w in enumerate(asked)
    ])  # fmt: skip
    return composite(images), images[..., 3] / 255.0


# -- the judge ------------------------------------------------------------------------


def answers(
    judge: Judge, asked: list[Wish], pictures: Float[np.ndarray, "n 4 h w 3"]
) -> dict[str, np.ndarray]:
    """Whether species, color and pose of each scene are found, by all its views.

    The mean of a scene's four embeddings is compared. Color and pose are asked with the
    species said, pose among those that the species takes.
    """
    seen = judge.of_pictures(pictures.reshape(-1, *pictures.shape[2:]))
    seen = seen.reshape(len(asked), 4, -1).mean(1)

    def found(options: Callable[[Wish], list[str]]) -> list[int]:
        read = {t: e for t, e in _texts(judge, [t for w in asked for t in options(w)])}
        return [
            int(np.argmax([read[t] @ s for t in options(w)]))
            for w, s in zip(asked, seen, strict=True)
        ]

    species = found(lambda w: [prompt(name) for name in TRAINING_SPECIES])
    color = found(lambda w: [prompt(w.species, color=c) for c in COLORS])
    stances = lambda w: poses_of(SPECIES[w.species])
    pose = found(lambda w: [prompt(w.species, pose=p) for p in stances(w)])
    whole = found(lambda w: sorted({x.text for x in asked}))
    texts = sorted({x.text for x in asked})
    right = {
        "species": [TRAINING_SPECIES[i] for i in species],
        "color": [list(COLORS)[i] for i in color],
        "pose": [poses_of(SPECIES[w.species])[i] for i, w in zip(pose, asked,
                                                                 strict=True)],
    }  # fmt: skip
    ok = {
        name: np.array([v == getattr(w, name) for v, w in zip(vs, asked, strict=True)])
        for name, vs in right.items()
    }
    mine = [texts[i] == w.text for i, w in zip(whole, asked, strict=True)]
    return ok | {"own text": np.array(mine)}


def _texts(judge: Judge, texts: list[str]):
    unique = sorted(set(texts))
    return zip(unique, judge.of_texts(unique), strict=True)


# -- the examiner ---------------------------------------------------------------------


def examined(
    examiner: Callable, asked: list[Wish], pictures: Float[np.ndarray, "n 4 h w 3"]
) -> dict[str, np.ndarray]:
    """Whether species, color and pose of each scene are named right.

    Species among those that training knows, pose among those of the wished species.
    """
    found = examiner(pictures)
    ok: dict[str, list[bool]] = {what: [] for what in ASKED}
    for i, wish in enumerate(asked):
        poses = poses_of(SPECIES[wish.species])
        for what, among in zip(ASKED, (TRAINING_SPECIES, (), poses), strict=True):
            answer = named(getattr(found, what)[i], what, among)
            ok[what].append(answer == getattr(wish, what))
    return {name: np.array(value) for name, value in ok.items()}


# -- consistency ----------------------------------------------------------------------


_agreement = jax.jit(partial(generation_fit.hull_agreement, cells=CELLS))


def best_agreement(masks: Float[np.ndarray, "v h w"]) -> float:
    """Agreement under the field of view and distance that suit the outlines best.

    The prior is not told either, so a scene may have any.
    """
    size = masks.shape[-1]
    cameras = [views(lens, fill, size) for lens in LENSES for fill in FILLS]
    return max(float(_agreement(camera, masks)) for camera in cameras)


# -- sheet and report -----------------------------------------------------------------


def marked(scene: Float[np.ndarray, "v h w 3"], held_out: bool) -> np.ndarray:
    """One row of views; a red edge around it says that training never saw it."""
    row = np.pad(np.concatenate(list(scene), axis=1), ((1, 1), (1, 1), (0, 0)))
    edge = np.array([0.9, 0.1, 0.1]) if held_out else np.ones(3)
    row[[0, -1]] = edge
    row[:, [0, -1]] = edge
    return row


def sheet(scenes: np.ndarray, asked: list[Wish], columns: int = 3) -> np.ndarray:
    """All scenes as a uint8 page, twice as large."""
    rows = [marked(s, w.held_out) for s, w in zip(scenes, asked, strict=True)]
    lines = [
        np.concatenate(rows[i : i + columns], axis=1)
        for i in range(0, len(rows), columns)
    ]
    page = (np.concatenate(lines).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return page.repeat(2, axis=0).repeat(2, axis=1)


def guided_step_ms(prior: Prior, weights: Any, repeats: int = 5) -> float:
    """Milliseconds of process CPU time of one guided step of one four-view scene."""
    step = jax.jit(make_step(prior, scale=3.0, rescale=0.5, eta=0.0))
    context = embed(prior, weights, ("", "a red fox"))
    z = jnp.zeros((4, *prior.latent_shape))
    run = lambda: step(weights, z, jnp.int32(500), jnp.int32(480), context,
                       views(size=prior.image_size), jax.random.key(0))  # fmt: skip
    run().block_until_ready()
    start = time.process_time()
    for _ in range(repeats):
        run().block_until_ready()
    return 1e3 * (time.process_time() - start) / repeats


def rows_of(
    name: str, judge: Judge, examiner: Callable, asked: list[Wish], pictures: np.ndarray
) -> list[list[Any]]:
    """Shares of right answers on each side of the held-out rule."""
    ok = {f"{k} (examiner)": v for k, v in examined(examiner, asked, pictures).items()}
    ok |= answers(judge, asked, pictures)
    side = np.array([w.held_out for w in asked])
    return [
        [name, label, int(chosen.sum())]
        + [float(100 * value[chosen].mean()) for value in ok.values()]
        for label, chosen in (("trained", ~side), ("held out", side))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prior", default="")
    parser.add_argument("--judge", default="")
    parser.add_argument("--examiner", type=Path)
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--scale", type=float, default=3.0)
    parser.add_argument("--out", type=Path, default=Path("."))
    options = parser.parse_args()
    prior, weights = load_prior(options.prior)
    judge, examiner = load_judge(options.judge), load_examiner(options.examiner)
    asked = wishes(options.count)
    texts = [w.text for w in asked]
    color, mask = drawn(prior, weights, texts, steps=options.steps, scale=options.scale)
    true_color, true_mask = rendered(asked, prior.image_size)
    options.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet(color[:24], asked[:24])).save(options.out / "sheet.png")
    head = ["pictures", "combinations", "scenes", "species %", "color %", "pose %",
            "judge: species %", "color %", "pose %", "own text %"]  # fmt: skip
    rows = rows_of("drawn", judge, examiner, asked, color)
    rows += rows_of("true renders", judge, examiner, asked, true_color)
    print(table(head, rows))
    mixed = np.stack([np.roll(true_mask[:, v], v, axis=0) for v in range(4)], 1)
    kinds = {"drawn": mask, "true renders": true_mask, "views of four scenes": mixed}
    print(table(
        ["outlines", "agreement with their hull"],
        [[k, float(np.mean([best_agreement(m) for m in ms]))]
         for k, ms in kinds.items()],
    ))  # fmt: skip
    print(f"one guided step of four views: {guided_step_ms(prior, weights):.0f} cpu-ms")
    for i, wish in enumerate(asked[:24]):
        print(i + 1, wish.text, "(held out)" if wish.held_out else "")


if __name__ == "__main__":
    main()
