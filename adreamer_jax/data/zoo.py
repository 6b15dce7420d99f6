"""A zoo without end: individuals of every species, their coats and their poses.

An individual is a row of the species table with every number jittered, a build, a
color, a pattern and a pose; `posed` turns it into capsules that `creature` can draw.
Everything is a function of a random generator, and generators of training, evaluation
and clips come from separate streams, so no individual is ever in two of them.
"""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np

from adreamer_jax.data import anatomy, gait
from adreamer_jax.data.creature import Coat, Creature
from adreamer_jax.data.species import COLORS, SPECIES, TRAINING_SPECIES, Species
from adreamer_jax.types import Float

__all__ = [
    "BUILDS",
    "NATURAL",
    "PATTERNS",
    "STREAMS",
    "Individual",
    "generator",
    "is_held_out",
    "pad",
    "posed",
    "sample_individual",
]

NATURAL = "natural"
BUILDS = ("normal", "fat", "slim", "baby")
PATTERNS = ("plain", "striped", "spotted", "patched")
STREAMS = ("training", "evaluation", "clips")

_GIRTH = ("chest", "hip", "waist")
_LENGTHS = (
    *_GIRTH, "length", "leg", "leg_radius", "foot", "neck", "neck_radius", "head",
    "snout", "snout_radius", "ear", "ear_width", "tail", "tail_radius",
)  # fmt: skip
_FACTORS = {
    "normal": {},
    "fat": dict(chest=1.25, hip=1.32, waist=1.42, leg_radius=1.15, neck_radius=1.15,
                leg=0.94),
    "slim": dict(chest=0.82, hip=0.80, waist=0.74, leg_radius=0.82, neck_radius=0.85,
                 leg=1.08, tail_radius=0.85),
    "baby": dict(head=1.38, leg=0.80, neck=0.78, snout=0.72, snout_radius=1.05,
                 length=0.80, eye=1.25, tail=0.75, leg_radius=1.05, foot=1.1),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Individual:
    """One animal and what it does; ``numbers`` are its own proportions."""

    species: str
    color: str
    pattern: str
    build: str
    pose: str
    numbers: Species
    coat: Coat
    paints: dict[str, tuple[float, ...]]
    look: float
    wag: float
    phase: float


def generator(seed: int, stream: str, *more: int) -> np.random.Generator:
    """Random numbers of one stream; different streams never meet."""
    words = [STREAMS.index(stream), int(seed), *more]
    return np.random.default_rng(np.random.SeedSequence(words))


def is_held_out(species: str, pose: str, color: str) -> bool:
    """Whether a combination is kept from training: one colored one in eight.

    The rule walks through poses and colors with steps prime to eight, so every species
    and every pose keeps some and loses some; natural colors are always trained on.
    """
    if color == NATURAL:
        return False
    place = 3 * gait.POSES.index(pose) + 5 * list(COLORS).index(color)
    return (zlib.crc32(species.encode()) + place) % 8 == 0


def sample_individual(
    random: np.random.Generator,
    *,
    species: str | None = None,
    pose: str | None = None,
    color: str | None = None,
    pattern: str | None = None,
    build: str | None = None,
    natural: float = 0.4,
    held_out: bool | None = None,
    jitter: float = 0.07,
    grains: int = 0,
) -> Individual:
    """Draw an individual; what is given is kept, the rest is chosen.

    ``held_out`` False draws only combinations of the training side, True only those
    kept from it, None draws any.
    """
    name, stance, tint = _combination(random, species, pose, color, natural, held_out)
    base = SPECIES[name]
    plain = base.pattern if tint == NATURAL else None
    drawn = random.choice(PATTERNS, p=(0.55, 0.17, 0.16, 0.12))
    marks = pattern or plain or str(drawn)
    shape = build or str(random.choice(BUILDS, p=(0.55, 0.15, 0.15, 0.15)))
    paints = _paints(random, base, tint)
    return Individual(
        species=name,
        color=tint,
        pattern=marks,
        build=shape,
        pose=stance,
        numbers=_proportions(random, base, shape, jitter),
        coat=_coat(random, marks, paints, tint, grains),
        paints=paints,
        look=float(random.normal(0.0, 0.22)),
        wag=float(random.uniform(0.05, 0.3)),
        phase=float(random.uniform(0.0, 2 * np.pi)),
    )


def posed(
    individual: Individual,
    phase: Float[np.ndarray, "t"],
    *,
    pose: str | None = None,
    reach: float = 1.0,
    fit: str = "box",
    sharpness: float = 60.0,
) -> tuple[Creature, Creature, Float[np.ndarray, "t k 4 4"]]:
    """The posed creature (leading axis t), its rest, and each capsule's motion.

    Every frame stands on the ground; then all frames together are centered and scaled
    so that their common box has its longest side (``fit`` "box") or its half diagonal
    ("ball": farthest point) equal to 2 ``reach`` or ``reach``.
    """
    body = anatomy.build(individual.numbers)
    stance = pose or individual.pose
    turn = gait.turns(
        individual.numbers, stance, phase, look=individual.look, wag=individual.wag
    )
    posed_from_rest = anatomy.carry(body, turn, len(phase))
    start, end = _move(body, posed_from_rest)
    if body.grounded and stance != "flying":
        drop = _lowest(body, start, end)
        posed_from_rest[..., 1, 3] -= drop[:, None]
        start[..., 1] -= drop[:, None]
        end[..., 1] -= drop[:, None]
    center, factor = _framing(body, start, end, fit, reach)
    place = np.eye(4)
    place[:3, :3] *= factor
    place[:3, 3] = -factor * center
    grow = np.diag([factor, factor, factor, 1.0])
    motion = place @ posed_from_rest @ np.linalg.inv(grow)
    still = np.tile(np.eye(4), (1, len(body.bone), 1, 1))
    rest = _creature(individual, body, still, factor, sharpness)
    motion = motion[:, body.bone]
    return _creature(individual, body, motion, factor, sharpness), rest, motion


def pad(creature: Creature, capsules: int) -> Creature:
    """The creature with empty capsules far away, so that all have the same number."""
    more = capsules - creature.start.shape[-2]
    if more < 0:
        raise ValueError(
            f"capsules must be at least {creature.start.shape[-2]}, got {capsules}"
        )
    axis = {"start": -2, "end": -2, "flat_axis": -2, "rest_from_posed": -3}
    axis |= {"rest_axis": -2, "color": -2, "belly": -2, "start_radius": -1}
    axis |= {"end_radius": -1, "stretch": -1, "furry": -1}
    away = {"start": -90.0, "end": -90.0}
    filled = {}
    for name, where in axis.items():
        array = getattr(creature, name)
        width = [(0, 0)] * array.ndim
        width[where] = (0, more)
        filled[name] = np.pad(array, width, constant_values=away.get(name, 0.0))
    return creature.replace(**filled)


# -- geometry -------------------------------------------------------------------------


def _combination(random, species, pose, color, natural: float, held_out: bool | None):
    """Species, pose and color on the asked side of the held-out rule."""
    name = stance = tint = ""
    for _ in range(1000):
        name = species or str(random.choice(TRAINING_SPECIES))
        stance = pose or str(random.choice(gait.poses_of(SPECIES[name])))
        usual = random.random() < natural
        tint = color or (NATURAL if usual else str(random.choice(list(COLORS))))
        if held_out is None or is_held_out(name, stance, tint) == held_out:
            return name, stance, tint
    raise ValueError(
        f"combination must be {'held out' if held_out else 'in training'}, got "
        f"{name} {stance} {tint}; leave one of species, pose, color open"
    )


def _proportions(random, base: Species, build: str, jitter: float) -> Species:
    numbers = {}
    for name in _LENGTHS:
        factor = np.exp(jitter * random.standard_normal())
        numbers[name] = getattr(base, name) * factor * _FACTORS[build].get(name, 1.0)
    numbers["eye"] = base.eye * _FACTORS[build].get("eye", 1.0)
    for name in ("neck_angle", "tail_angle"):
        numbers[name] = getattr(base, name) + 40.0 * jitter * random.standard_normal()
    return dataclasses.replace(base, **numbers)


def _move(body: anatomy.Anatomy, posed_from_rest):
    of_capsule = posed_from_rest[:, body.bone]
    turn, shift = of_capsule[..., :3, :3], of_capsule[..., :3, 3]
    ends = [
        np.einsum("tkij,kj->tki", turn, at) + shift for at in (body.start, body.end)
    ]
    return ends[0], ends[1]


def _lowest(body: anatomy.Anatomy, start, end) -> Float[np.ndarray, "t"]:
    """Smoothly, the height of the lowest point of legs and trunk in every frame."""
    standing = ("hind", "front", "body", "tail")
    used = np.array([name.startswith(standing) for name in body.bones])[body.bone]
    low = np.concatenate(
        [start[..., 1] - body.start_radius, end[..., 1] - body.end_radius], 1
    )[:, np.concatenate([used, used])]
    least = low.min(1)
    return least - 0.01 * np.log(np.exp((least[:, None] - low) / 0.01).sum(1))


def _framing(body: anatomy.Anatomy, start, end, fit: str, reach: float):
    """Center and factor that bring all frames into the asked box or ball."""
    points = np.concatenate([start, end], 1)
    wide = np.maximum(body.flatness, 1.0)
    radius = np.concatenate([body.start_radius * wide, body.end_radius * wide])[:, None]
    low = (points - radius).min((0, 1))
    high = (points + radius).max((0, 1))
    center = 0.5 * (low + high)
    if fit == "box":
        return center, 2.0 * reach / (high - low).max()
    far = np.linalg.norm(points - center, axis=-1) + radius[:, 0]
    return center, reach / far.max()


def _creature(individual, body, motion, factor: float, sharpness: float) -> Creature:
    """Capsules of the anatomy, scaled, moved by ``motion`` [t, k or 1, 4, 4]."""
    turn, shift = motion[..., :3, :3], motion[..., :3, 3]
    frames = len(motion)
    capsules = len(body.bone)
    move = lambda x: np.einsum("tkij,kj->tki", turn, x * factor) + shift
    spread = lambda x: np.broadcast_to(x, (frames, *np.shape(x)))
    back = np.swapaxes(turn, -1, -2)
    offset = -np.einsum("tkij,tkj->tki", back, shift)
    inverse = np.concatenate([back, offset[..., None]], -1)
    axis = body.end - body.start
    long = np.linalg.norm(axis, axis=-1, keepdims=True)
    axis = np.where(long > 1e-6, axis / np.maximum(long, 1e-6), np.array([0.0, 0, 1.0]))
    radii = [factor * r for r in (body.start_radius, body.end_radius)]
    coat = individual.coat
    tables = dict(
        start=move(body.start),
        end=move(body.end),
        start_radius=spread(radii[0]),
        end_radius=spread(radii[1]),
        flat_axis=np.einsum("tkij,kj->tki", turn, body.flat_axis),
        stretch=spread(body.flatness**-2.0 - 1.0),
        rest_from_posed=np.broadcast_to(inverse, (frames, capsules, 3, 4)),
        rest_axis=spread(axis),
        color=spread(np.array([individual.paints[p] for p in body.paint])),
        furry=spread(np.array([float(p == "coat") for p in body.paint])),
        belly=spread(body.belly),
        sharpness=spread(np.array(sharpness)),
    )
    coat = Coat(
        **{f.name: spread(getattr(coat, f.name)) for f in dataclasses.fields(coat)}
    )
    asarray = lambda x: np.ascontiguousarray(x, np.float32)
    coat = Coat(
        **{f.name: asarray(getattr(coat, f.name)) for f in dataclasses.fields(coat)}
    )
    return Creature(**{k: asarray(v) for k, v in tables.items()}, coat=coat)


# -- looks ----------------------------------------------------------------------------


def _mix(a, b, share: float):
    return tuple((1 - share) * x + share * y for x, y in zip(a, b, strict=True))


def _paints(random, base: Species, color: str) -> dict[str, tuple[float, ...]]:
    """Colors of the paint slots; a colored animal keeps its eyes, nose and beak."""
    shade = np.exp(0.10 * random.standard_normal())
    tint = 0.03 * random.standard_normal(3)
    vary = lambda rgb: tuple(np.clip(np.asarray(rgb) * shade + tint, 0.02, 0.97))
    paints = dict(
        coat=vary(base.coat), under=vary(base.under), dark=base.dark,
        accent=base.accent, eye=(0.035, 0.03, 0.03), nose=(0.07, 0.06, 0.06),
        white=(0.93, 0.91, 0.86), pink=(0.90, 0.60, 0.60), red=(0.82, 0.10, 0.08),
    )  # fmt: skip
    if color == NATURAL:
        return paints
    coat = vary(COLORS[color])
    light = 0.85 if {"bib", "tip"} & set(base.tags) else 0.28
    paints.update(
        coat=coat,
        under=_mix(coat, (0.95, 0.94, 0.92), light),
        dark=_mix(base.dark, tuple(0.35 * c for c in coat), 0.65),
    )
    if "shell" in base.tags or base.plan == "swimmer":
        paints.update(accent=_mix(coat, (0.1, 0.08, 0.06), 0.4))
    if base.plan == "swimmer":
        paints.update(dark=_mix(coat, (0.05, 0.05, 0.05), 0.2))
    if {"bare neck"} & set(base.tags):
        paints.update(dark=_mix(coat, (0.9, 0.72, 0.62), 0.6))
    return paints


# stripe, pitch, wobble, noise, fold, threshold, waves per unit
_MARKS = {
    "plain": (0.0, 1.0, 0.0, 0.0, 0.0, 9.0, 8.0),
    "striped": (1.0, 34.0, 0.7, 0.10, 0.0, 0.12, 8.0),
    "spotted": (0.0, 1.0, 0.0, 1.0, 0.0, 0.95, 22.0),
    "patched": (0.0, 1.0, 0.0, 1.0, 0.0, 0.35, 7.5),
    "netted": (0.0, 1.0, 0.0, 1.0, 1.0, 0.42, 16.0),
}


def _coat(random, pattern: str, paints, color: str, grains: int, *, waves: int = 12):
    stripe, pitch, wobble, noise, fold, threshold, rate = _MARKS[pattern]
    base = np.asarray(paints["coat"])
    mark = np.asarray(paints["dark"])
    if color != NATURAL:
        dark = base.mean() < 0.3
        mark = np.asarray(_mix(base, (0.95,) * 3, 0.75)) if dark else 0.22 * base
    number = lambda x: np.asarray(x, np.float32)
    return Coat(
        mark=number(mark),
        under=number(paints["under"]),
        stripe=number(stripe),
        pitch=number(pitch * np.exp(0.12 * random.standard_normal())),
        wobble=number(wobble),
        noise=number(noise),
        fold=number(fold),
        threshold=number(threshold),
        waves=_wave_bank(random, np.full(waves, rate)),
        grain=_wave_bank(random, np.geomspace(28.0, 90.0, grains)),
        grain_gain=number(0.32),
    )


def _wave_bank(random, rates) -> Float[np.ndarray, "w 4"]:
    """Waves of given wave numbers in random directions, with random phases."""
    way = random.standard_normal((len(rates), 3))
    way *= (rates * np.exp(0.15 * random.standard_normal(len(rates))))[:, None] / (
        np.linalg.norm(way, axis=-1, keepdims=True) + 1e-9
    )
    turn = random.uniform(0, 2 * np.pi, (len(rates), 1))
    return np.concatenate([way, turn], -1).astype(np.float32)
