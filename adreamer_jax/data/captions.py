"""What one says of a zoo animal: synonyms, omissions and varied word order.

A caption names the species always and color, pattern, build and pose mostly, so that a
network learns each word alone as well as together. All words are in `VOCABULARY`.
"""

from __future__ import annotations

import numpy as np

from adreamer_jax.data.gait import POSES
from adreamer_jax.data.species import COLORS, SPECIES
from adreamer_jax.data.zoo import BUILDS, NATURAL, PATTERNS, Individual

__all__ = ["VOCABULARY", "caption", "describe", "prompt"]

_SPECIES_WORDS = {
    "rabbit": ("rabbit", "bunny"),
    "rhino": ("rhino", "rhinoceros"),
    "hippo": ("hippo", "hippopotamus"),
    "chicken": ("chicken", "hen"),
    "turtle": ("turtle", "tortoise"),
    "cat": ("cat", "kitty"),
    "tyrannosaur": ("tyrannosaur", "t rex"),
    "dinosaur": ("dinosaur", "long necked dinosaur"),
    "pig": ("pig", "hog"),
}
_COLOR_WORDS = {
    "gray": ("gray", "grey"),
    "purple": ("purple", "violet"),
    "turquoise": ("turquoise", "teal"),
}
_BUILD_WORDS = {
    "normal": (),
    "fat": ("fat", "chubby", "plump"),
    "slim": ("slim", "thin", "slender"),
    "baby": ("baby", "young", "little"),
}
_PATTERN_WORDS = {  # before the animal, after it
    "striped": ("striped", "with stripes"),
    "spotted": ("spotted", "with spots"),
    "patched": ("patched", "with patches"),
    "netted": ("patched", "with patches"),
}
_POSE_WORDS = {
    "standing": ("standing", "standing still"),
    "walking": ("walking", "strolling"),
    "running": ("running", "sprinting"),
    "eating": ("eating", "feeding"),
    "sitting": ("sitting", "seated"),
    "flying": ("flying", "in flight"),
    "swimming": ("swimming",),
    "diving": ("diving", "swimming down"),
    "jumping": ("jumping", "leaping"),
}
_OPENINGS = ("", "", "", "a picture of", "a 3d model of")


def caption(
    random: np.random.Generator, animal: Individual, *, keep: float = 0.85
) -> str:
    """One sentence part about the animal; each attribute is named with chance ``keep``.

    Natural colors and patterns go without saying.
    """
    said = lambda: random.random() < keep
    noun = _pick(random, _SPECIES_WORDS.get(animal.species, (animal.species,)))
    color = _color(random, animal) if said() else ""
    build = _pick(random, _BUILD_WORDS[animal.build]) if said() else ""
    pose = _pick(random, _POSE_WORDS[animal.pose]) if said() else ""
    before, after = _pattern(random, animal) if said() else ("", "")
    front = [build, color, before]
    if random.random() < 0.25:  # "a red fat fox" is said too
        front = [color, build, before]
    words = _order(random, front, noun, after, pose)
    opening = _OPENINGS[random.integers(len(_OPENINGS))]
    return " ".join(w for w in (opening, _article(words), words) if w)


def describe(
    random: np.random.Generator,
    species: str,
    *,
    color: str = "",
    pattern: str = "",
    build: str = "",
    pose: str = "",
) -> str:
    """A caption that names just what is given; empty attributes stay unsaid.

    A natural color, a normal build and a plain pattern have no words.
    """
    of = lambda table, name: _pick(random, table.get(name, (name,) if name else ()))
    tint = "" if color == NATURAL else of(_COLOR_WORDS, color)
    before, after = _PATTERN_WORDS.get(pattern, ("", ""))
    if random.random() < 0.5:
        before = ""
    else:
        after = ""
    front = [of(_BUILD_WORDS, build), tint, before]
    words = _order(
        random, front, of(_SPECIES_WORDS, species), after, of(_POSE_WORDS, pose)
    )
    opening = _OPENINGS[random.integers(len(_OPENINGS))]
    return " ".join(w for w in (opening, _article(words), words) if w)


def prompt(species: str, *, color: str = "", pose: str = "") -> str:
    """The plainest caption: "a red fox walking"."""
    words = " ".join(word for word in (color, species, pose) if word)
    return f"{_article(words)} {words}"


def _order(random, front: list[str], noun: str, after: str, pose: str) -> str:
    """The parts in one of three orders: pose last, pose first, or as a clause."""
    form = random.random()
    first = pose if form < 0.2 and " " not in pose else ""
    clause = f"that is {pose}" if pose and not first and form > 0.8 else ""
    last = "" if first or clause else pose
    parts = [first, *front, noun, after, clause, last]
    return " ".join(p for p in parts if p)


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


def _pick(random, words: tuple[str, ...]) -> str:
    return words[random.integers(len(words))] if words else ""


def _color(random, animal: Individual) -> str:
    if animal.color == NATURAL:
        return ""
    return _pick(random, _COLOR_WORDS.get(animal.color, (animal.color,)))


def _pattern(random, animal: Individual) -> tuple[str, str]:
    natural = SPECIES[animal.species].pattern
    usual = animal.color == NATURAL and animal.pattern == natural
    if usual or animal.pattern not in _PATTERN_WORDS:
        return "", ""
    before, after = _PATTERN_WORDS[animal.pattern]
    return (before, "") if random.random() < 0.5 else ("", after)


def _all_words() -> tuple[str, ...]:
    phrases = ["a", "an", "that is", *_OPENINGS]
    for name in SPECIES:
        phrases += _SPECIES_WORDS.get(name, (name,))
    for color in COLORS:
        phrases += _COLOR_WORDS.get(color, (color,))
    for build in BUILDS:
        phrases += _BUILD_WORDS[build]
    for pattern in PATTERNS:
        phrases += _PATTERN_WORDS.get(pattern, ())
    for pose in POSES:
        phrases += _POSE_WORDS[pose]
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))


VOCABULARY: tuple[str, ...] = _all_words()
