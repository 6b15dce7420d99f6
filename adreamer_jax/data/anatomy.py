"""From a row of the species table to bones and painted capsules at rest.

Rest pose: feet on y = 0, facing +z, the animal's left at +x, every bone unrotated, so
a pose is a rotation about each bone's head and `carry` chains them. Names of bones are
the vocabulary that `gait` speaks: body, chest, neck, neck2, head, jaw, tail1 to tail3,
and for each leg ("front left") its upper, lower and foot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adreamer_jax.data.anatomy_head import add_bird_head, add_head, add_swimmer_eyes
from adreamer_jax.data.anatomy_limbs import (
    add_arm,
    add_bird_leg,
    add_bird_tail,
    add_fins,
    add_front_leg,
    add_hind_leg,
    add_neck,
    add_strong_leg,
    add_tail,
    add_wings,
)
from adreamer_jax.data.anatomy_parts import DOWN, Anatomy, Parts, X, Y, Z, slant
from adreamer_jax.data.species import Species
from adreamer_jax.types import Float

__all__ = ["PAINTS", "Anatomy", "build", "carry"]

PAINTS = ("coat", "under", "dark", "accent", "eye", "nose", "white", "pink", "red")
LEGS = ("front left", "front right", "hind left", "hind right")


def build(species: Species) -> Anatomy:
    """Bones and capsules of an individual whose numbers are ``species``."""
    parts = Parts()
    PLANS[species.plan](species, parts)
    return parts.done(grounded=species.plan != "swimmer")


def carry(
    anatomy: Anatomy, turns: dict[str, Float[np.ndarray, "t 3 3"]], frames: int
) -> Float[np.ndarray, "t bones 4 4"]:
    """Posed-from-rest transforms from each bone's rotation about its head."""
    local = np.tile(np.eye(4), (frames, len(anatomy.bones), 1, 1))
    for i, name in enumerate(anatomy.bones):
        if name in turns:
            local[:, i, :3, :3] = turns[name]
    turned = np.einsum("tbij,bj->tbi", local[..., :3, :3], anatomy.heads)
    local[..., :3, 3] = anatomy.heads - turned
    total = np.empty_like(local)
    for i, parent in enumerate(anatomy.parents):
        total[:, i] = local[:, i] if parent < 0 else total[:, parent] @ local[:, i]
    return total


def _quadruped(s: Species, p: Parts) -> None:
    height = s.leg + 0.30 * s.chest
    hip, chest = (
        np.array([0, height, -0.5 * s.length]),
        np.array([0, height, 0.5 * s.length]),
    )
    hip = hip + (s.chest - s.hip) * 0.35 * Y
    middle = 0.5 * (hip + chest) + 0.25 * (s.chest - s.waist) * Y
    p.bone("body", None, middle)
    p.bone("chest", "body", middle)
    trunk: dict[str, Any] = dict(flat=X, thin=s.slim, belly=DOWN)
    p.add("body", hip, middle, s.hip, s.waist, **trunk)
    p.add("chest", middle, chest, s.waist, s.chest, **trunk)
    root = chest + 0.42 * s.chest * Y + 0.35 * s.chest * Z
    joint = add_neck(s, p, root)
    add_head(s, p, joint, parent="neck2")
    add_tail(s, p, hip + s.hip * (0.45 * Y - 0.80 * Z))
    _trunk_extras(s, p, hip, middle, chest)
    for leg in LEGS:
        (add_front_leg if "front" in leg else add_hind_leg)(s, p, leg, chest, hip)


def _trunk_extras(s: Species, p: Parts, hip, middle, chest) -> None:
    top = s.waist * Y
    if "humps" in s.tags:
        for place in (-0.34, 0.34):
            root = middle + 0.62 * top + place * s.length * 0.62 * Z
            p.add("body" if place < 0 else "chest", root, root + 0.16 * Y, 0.15, 0.06)
    if "udder" in s.tags:
        p.ball("body", hip - 0.88 * s.hip * Y + 0.15 * Z, 0.10, "pink")
    if "wool" in s.tags:
        for x, y, z in (
            (0.5, 0.5, -0.7),
            (-0.5, 0.5, -0.1),
            (0.5, 0.5, 0.45),
            (-0.3, 0.4, 0.9),
        ):
            bone = "body" if z < 0 else "chest"
            p.ball(
                bone, middle + s.waist * (x * X + y * Y + z * Z), 0.62 * s.waist, "coat"
            )
    if "bib" in s.tags:
        place = chest + 0.35 * s.chest * Z + 0.10 * s.chest * Y
        p.ball("chest", place, 0.74 * s.chest, "under", flat=X, thin=0.7)
    if "ridge" in s.tags:
        for i in range(4):
            place = hip + (i / 3.0) * (chest - hip) + 0.95 * s.waist * 1.0 * Y
            p.ball(
                "body" if i < 2 else "chest", place - 0.02 * Y, 0.042, "dark", thin=0.5
            )
    if "shell" in s.tags:
        center = middle + 0.35 * s.waist * Y
        p.ball("body", center, 0.36, "accent", flat=Y, thin=0.62)
        p.ball("body", center - 0.09 * Y, 0.40, "under", flat=Y, thin=0.30)
        p.ball("body", center + 0.10 * Y, 0.20, "dark", flat=Y, thin=0.78)


def _bird(s: Species, p: Parts) -> None:
    upright = "upright" in s.tags
    tilt = 74.0 if upright else 14.0
    way = slant(tilt)
    low = s.leg + (0.75 if not upright else 0.55) * s.hip
    hip = np.array([0.0, low, -0.42 * s.length if not upright else -0.05])
    middle, chest = hip + 0.5 * s.length * way, hip + s.length * way
    belly = 0.9 * Z + 0.1 * DOWN if upright else DOWN
    p.bone("body", None, 0.5 * (hip + chest))
    p.bone("chest", "body", middle)
    trunk: dict[str, Any] = dict(flat=X, thin=s.slim, belly=belly)
    p.add("body", hip, middle, s.hip, s.waist, **trunk)
    p.add("chest", middle, chest, s.waist, s.chest, **trunk)
    out = slant(s.neck_angle)
    root = chest + 0.55 * s.chest * out
    paint = "dark" if "bare neck" in s.tags else "coat"
    joint = add_neck(s, p, root, paint=paint)
    add_bird_head(s, p, joint, paint)
    add_wings(s, p, hip, chest, way)
    add_bird_tail(s, p, hip - 0.75 * s.hip * way)
    if "bib" in s.tags:
        low = hip + 0.42 * s.hip * Z + 0.05 * Y
        high = chest + 0.42 * s.chest * Z - 0.05 * Y
        p.add("body", low, high, 0.70 * s.hip, 0.62 * s.chest, "under", thin=1.1)
    for leg in ("hind left", "hind right"):
        add_bird_leg(s, p, leg, 0.5 * (hip + middle) if not upright else hip)


def _biped(s: Species, p: Parts) -> None:
    reared = "reared" in s.tags
    way = slant(52.0 if reared else 20.0)
    hip = np.array([0.0, s.leg + 0.1 * s.hip, -0.12])
    middle, chest = hip + 0.5 * s.length * way, hip + s.length * way
    belly = DOWN + 0.8 * Z if reared else DOWN
    belly = belly / np.linalg.norm(belly)
    p.bone("body", None, hip)
    p.bone("chest", "body", middle)
    trunk: dict[str, Any] = dict(flat=X, thin=s.slim, belly=belly)
    p.add("body", hip, middle, s.hip, s.waist, **trunk)
    p.add("chest", middle, chest, s.waist, s.chest, **trunk)
    joint = add_neck(s, p, chest + 0.45 * s.chest * slant(s.neck_angle))
    add_head(s, p, joint, parent="neck2")
    add_tail(s, p, hip - 0.75 * s.hip * way)
    for leg in ("hind left", "hind right"):
        add_strong_leg(s, p, leg, hip)
    for leg in ("front left", "front right"):
        add_arm(s, p, leg, chest)


def _swimmer(s: Species, p: Parts) -> None:
    """A spindle along z on five bones: head, chest, body and two of the tail."""
    z = lambda place: np.array([0.0, 0.6, (0.5 - place) * s.length])
    spine = [z(0.14), z(0.32), z(0.55), z(0.78), z(1.0)]
    side: dict[str, Any] = dict(flat=X, thin=s.slim, belly=DOWN)
    p.bone("body", None, spine[1])
    p.bone("chest", "body", spine[1])
    p.bone("head", "chest", spine[1])
    p.bone("tail1", "body", spine[2])
    p.bone("tail2", "tail1", spine[3])
    p.bone("tail3", "tail2", spine[4])
    mid = 0.62 * s.waist
    p.add("head", spine[0], spine[1], s.head, s.chest, **side)
    p.add("body", spine[1], spine[2], s.chest, s.waist * 0.92, **side)
    p.add("tail1", spine[2], spine[3], s.waist * 0.92, mid * 0.8, **side)
    p.add("tail2", spine[3], spine[4], mid * 0.8, s.hip, **side)
    low = 0.15 * s.head * Y
    nose = spine[0] + (0.55 * s.head + s.snout) * Z - low
    if "bottle nose" in s.tags:
        p.add("head", spine[0] + 0.5 * s.head * Z - 2.2 * low, nose - 2.2 * low,
              1.9 * s.snout_radius, s.snout_radius, "coat", belly=DOWN)  # fmt: skip
    else:
        p.add("head", spine[0], nose, 0.92 * s.head, s.snout_radius, **side)
    add_swimmer_eyes(s, p, spine[0])
    add_fins(s, p, spine)


PLANS: dict[str, Callable] = {
    "quadruped": _quadruped,
    "bird": _bird,
    "biped": _biped,
    "swimmer": _swimmer,
}
