"""From a row of the species table to bones and painted capsules at rest.

Rest pose: feet on y = 0, facing +z, the animal's left at +x, every bone unrotated, so
a pose is a rotation about each bone's head and `carry` chains them. Names of bones are
the vocabulary that `gait` speaks: body, chest, neck, neck2, head, jaw, tail1 to tail3,
and for each leg ("front left") its upper, lower and foot.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from adreamer_jax.data.species import Species
from adreamer_jax.types import Float, Int

__all__ = ["PAINTS", "Anatomy", "build", "carry"]

PAINTS = ("coat", "under", "dark", "accent", "eye", "nose", "white", "pink", "red")
X, Y, Z = np.eye(3)
DOWN = -Y
LEGS = ("front left", "front right", "hind left", "hind right")


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """Bones and capsules of one individual at rest."""

    bones: tuple[str, ...]
    parents: tuple[int, ...]  # -1 for the root; parents come first
    heads: Float[np.ndarray, "bones 3"]
    bone: Int[np.ndarray, "k"]  # of each capsule
    start: Float[np.ndarray, "k 3"]
    end: Float[np.ndarray, "k 3"]
    start_radius: Float[np.ndarray, "k"]
    end_radius: Float[np.ndarray, "k"]
    flat_axis: Float[np.ndarray, "k 3"]
    flatness: Float[np.ndarray, "k"]  # thickness over width; above 1 = wider
    paint: tuple[str, ...]
    belly: Float[np.ndarray, "k 3"]
    grounded: bool  # stands on its feet, so a pose puts its lowest point on y = 0


@dataclasses.dataclass
class _Parts:
    """A list of bones and capsules being put together."""

    bones: dict = dataclasses.field(default_factory=dict)
    rows: list = dataclasses.field(default_factory=list)

    def bone(self, name: str, parent: str | None, head) -> None:
        self.bones[name] = (parent, head)

    def add(
        self, bone, start, end, r0, r1, paint="coat", *, flat=X, thin=1.0, belly=None
    ) -> None:
        belly = np.zeros(3) if belly is None else belly
        self.rows.append((bone, start, end, r0, r1, paint, flat, thin, belly))

    def ball(self, bone, center, radius, paint, *, flat=X, thin=1.0) -> None:
        self.add(bone, center, center, radius, radius, paint, flat=flat, thin=thin)

    def done(self, *, grounded: bool) -> Anatomy:
        names = tuple(self.bones)
        column = lambda i: np.array([row[i] for row in self.rows])
        return Anatomy(
            bones=names,
            parents=tuple(
                -1 if p is None else names.index(p) for p, _ in self.bones.values()
            ),
            heads=np.array([head for _, head in self.bones.values()]),
            bone=np.array([names.index(row[0]) for row in self.rows]),
            start=column(1),
            end=column(2),
            start_radius=column(3),
            end_radius=column(4),
            paint=tuple(row[5] for row in self.rows),
            flat_axis=column(6),
            flatness=column(7),
            belly=column(8),
            grounded=grounded,
        )


def build(species: Species) -> Anatomy:
    """Bones and capsules of an individual whose numbers are ``species``."""
    parts = _Parts()
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


def _slant(angle_deg: float, *, back: bool = False) -> Float[np.ndarray, "3"]:
    """Unit vector in the plane x = 0, an angle above the horizontal."""
    angle = np.radians(angle_deg)
    return np.sin(angle) * Y + (-1 if back else 1) * np.cos(angle) * Z


def _side(leg: str) -> float:
    return 1.0 if "left" in leg else -1.0


# -- heads ----------------------------------------------------------------------------


def _head(s: Species, p: _Parts, joint, *, parent: str = "neck") -> None:
    """Skull, snout, nose, eyes and ears; the face looks along the drooping snout."""
    front, up = _slant(-s.droop), _slant(90.0 - s.droop)
    flat_face = _slant(-0.4 * s.droop)
    skull = joint + 0.35 * s.head * flat_face + 0.25 * s.head * Y
    p.bone("head", parent, joint)
    paint = "dark" if "dark face" in s.tags else "coat"
    p.add("head", skull, skull, s.head, s.head, paint, belly=0.6 * DOWN, thin=0.92)
    _snout(s, p, skull, front, up, paint)
    _eyes(s, p, skull, flat_face)
    _ears(s, p, skull, flat_face)
    for tag, make in HEADGEAR.items():
        if tag in s.tags:
            make(s, p, skull, front, up)


def _snout(s: Species, p: _Parts, skull, front, up, paint) -> None:
    root = skull + 0.30 * s.head * front - 0.18 * s.head * up
    tip = skull + (0.62 * s.head + s.snout) * front - 0.22 * s.head * up
    thick = min(0.72 * s.head, 1.9 * s.snout_radius)
    end = "accent" if "muzzle" in s.tags else paint
    flat = "flat snout" in s.tags
    p.add(
        "head", root, tip, max(thick, s.snout_radius), s.snout_radius, paint,
        flat=up, thin=0.6 if flat else 1.0, belly=0.75 * DOWN,
    )  # fmt: skip
    if end != paint:
        p.ball("head", tip - 0.25 * s.snout_radius * front, 1.1 * s.snout_radius, end)
    if "disc" in s.tags:
        p.ball("head", tip + 0.75 * s.snout_radius * front, 1.02 * s.snout_radius,
               "accent", flat=front, thin=0.45)  # fmt: skip
    elif not {"trunk", "flat snout", "muzzle", "jaw"} & set(s.tags):
        nose = tip + 0.78 * s.snout_radius * front + 0.45 * s.snout_radius * up
        p.ball("head", nose, max(0.42 * s.snout_radius, 0.16 * s.head), "nose")
    if "jaw" in s.tags:
        p.bone("jaw", "head", root)
        low = -0.55 * s.head * up
        p.add("jaw", root + 0.8 * low, tip + low - 0.2 * s.snout * front,
              0.7 * s.snout_radius, 0.6 * s.snout_radius, "coat",
              belly=DOWN)  # fmt: skip


def _eyes(s: Species, p: _Parts, skull, front, *, bone: str = "head") -> None:
    up = np.cross(front, X)
    size = s.eye * s.head
    for side in (1.0, -1.0):
        place = np.array([side * 0.70, 0.0, 0.0]) + 0.36 * up + 0.58 * front
        center = skull + (s.head * 1.02 - 0.35 * size) * place / np.linalg.norm(place)
        p.ball(bone, center, size, "eye")
        glint = 0.62 * size * (side * 0.45 * X + 0.75 * up + 0.5 * front)
        p.ball(bone, center + glint, 0.34 * size, "white")


def _ears(s: Species, p: _Parts, skull, front) -> None:
    if s.ear <= 0.0:
        return
    if "fan ears" in s.tags:
        return _fan_ears(s, p, skull)
    round_ = "round ears" in s.tags
    paint = "dark" if {"dark ears", "dark face"} & set(s.tags) else "coat"
    for side in (1.0, -1.0):
        angle = np.radians(s.ear_angle)
        way = side * np.sin(angle) * X + np.cos(angle) * Y - 0.12 * front
        root = skull + 0.80 * s.head * (side * 0.60 * X + 0.66 * Y - 0.12 * front)
        if s.ear_angle > 85:
            root = skull + 0.80 * s.head * (side * 0.85 * X + 0.38 * Y - 0.18 * front)
        tip = root + s.ear * way
        if "floppy" in s.tags:
            tip = root + s.ear * (side * 0.18 * X - 0.95 * Y + 0.10 * front)
            root, flat = root + 0.10 * s.ear * Y, X
        else:
            flat = _across(way, front)
        name = f"ear {'left' if side > 0 else 'right'}"
        p.bone(name, "head", root)
        ends = (0.85, 1.0) if round_ or "floppy" in s.tags else (1.0, 0.22)
        p.add(name, root, tip, ends[0] * s.ear_width, ends[1] * s.ear_width,
              "coat", flat=flat, thin=0.38)  # fmt: skip
        inner = "pink" if "pink ears" in s.tags else None
        inner = "dark" if paint == "dark" else inner
        if inner == "pink":
            shift = 0.28 * s.ear_width * flat
            low, high = (root + share * (tip - root) + shift for share in (0.25, 0.82))
            radii = (0.6 * ends[0] * s.ear_width, 0.6 * ends[1] * s.ear_width)
            p.add(name, low, high, *radii, inner, flat=flat, thin=0.3)
        elif inner == "dark":
            p.add(name, root + 0.6 * (tip - root), tip, 0.62 * s.ear_width,
                  0.28 * s.ear_width, inner, flat=flat, thin=0.45)  # fmt: skip


def _fan_ears(s: Species, p: _Parts, skull) -> None:
    """An elephant's: broad sheets that hang back from the cheeks."""
    for side in (1.0, -1.0):
        name = f"ear {'left' if side > 0 else 'right'}"
        root = skull + s.head * (side * 0.80 * X + 0.30 * Y - 0.30 * Z)
        out = side * 0.75 * X - 0.60 * Z
        flat = _across(out, side * X + 1.2 * Z)
        p.bone(name, "head", root)
        near, far = root + 0.30 * s.ear * out, root + s.ear * (0.65 * out - 0.4 * Y)
        p.add(name, near, far, s.ear_width, 0.75 * s.ear_width, flat=flat, thin=0.2)


def _across(way, near) -> Float[np.ndarray, "3"]:
    """The part of ``near`` at right angles to ``way``, unit."""
    way = way / np.linalg.norm(way)
    rest = near - way * (near @ way)
    return rest / np.linalg.norm(rest)


def _horns(s, p, skull, front, up) -> None:
    for side in (1.0, -1.0):
        root = skull + s.head * (side * 0.55 * X + 0.80 * Y)
        bend = root + s.head * (side * 0.85 * X + 0.35 * Y)
        tip = bend + s.head * (side * 0.15 * X + 0.65 * Y + 0.2 * Z)
        p.add("head", root, bend, 0.24 * s.head, 0.19 * s.head, "white")
        p.add("head", bend, tip, 0.19 * s.head, 0.05 * s.head, "white")


def _swept_horns(s, p, skull, front, up) -> None:
    for side in (1.0, -1.0):
        root = skull + s.head * (side * 0.38 * X + 0.85 * Y)
        bend = root + s.head * (side * 0.15 * X + 1.25 * Y - 0.55 * Z)
        tip = bend + s.head * (side * 0.30 * X + 0.30 * Y - 1.15 * Z)
        p.add("head", root, bend, 0.25 * s.head, 0.19 * s.head, "dark")
        p.add("head", bend, tip, 0.19 * s.head, 0.06 * s.head, "dark")


def _antlers(s, p, skull, front, up) -> None:
    for side in (1.0, -1.0):
        root = skull + s.head * (side * 0.40 * X + 0.85 * Y - 0.2 * Z)
        fork = root + s.head * (side * 0.85 * X + 1.35 * Y - 0.55 * Z)
        tip = fork + s.head * (side * 0.35 * X + 1.35 * Y + 0.35 * Z)
        tine = fork + s.head * (side * 0.25 * X + 0.75 * Y + 1.05 * Z)
        low = root + 0.3 * (fork - root)
        p.add("head", root, fork, 0.17 * s.head, 0.14 * s.head, "accent")
        p.add("head", fork, tip, 0.14 * s.head, 0.07 * s.head, "accent")
        p.add("head", fork, tine, 0.13 * s.head, 0.07 * s.head, "accent")
        p.add("head", low, low + s.head * (side * 0.1 * X + 0.5 * Y + 0.85 * Z),
              0.13 * s.head, 0.07 * s.head, "accent")  # fmt: skip


def _knobs(s, p, skull, front, up) -> None:
    for side in (1.0, -1.0):
        root = skull + s.head * (side * 0.42 * X + 0.7 * Y)
        tip = root + s.head * (side * 0.12 * X + 1.1 * Y - 0.15 * Z)
        p.add("head", root, tip, 0.16 * s.head, 0.13 * s.head, "coat")
        p.ball("head", tip, 0.24 * s.head, "dark")


def _nose_horn(s, p, skull, front, up) -> None:
    tip = skull + (0.62 * s.head + s.snout) * front + 0.3 * s.head * up
    top = tip + 1.45 * s.head * _slant(66.0)
    p.add("head", tip - 0.1 * s.head * up, top, 0.42 * s.head, 0.06 * s.head, "accent")
    low = tip - 0.95 * s.head * front + 0.05 * s.head * up
    p.add("head", low, low + 0.62 * s.head * _slant(75.0), 0.27 * s.head, 0.06 * s.head,
          "accent")  # fmt: skip


def _trunk(s, p, skull, front, up) -> None:
    root = skull + (0.62 * s.head + s.snout) * front - 0.22 * s.head * up
    middle = root + 1.25 * s.head * _slant(-78.0)
    low = middle + 1.05 * s.head * _slant(-84.0)
    tip = low + 0.55 * s.head * _slant(-20.0)
    p.bone("trunk1", "head", root)
    p.bone("trunk2", "trunk1", middle)
    p.bone("trunk3", "trunk2", low)
    for bone, a, b, r0, r1 in (
        ("trunk1", root, middle, 0.52, 0.40),
        ("trunk2", middle, low, 0.40, 0.30),
        ("trunk3", low, tip, 0.30, 0.22),
    ):
        p.add(bone, a, b, r0 * s.head, r1 * s.head, "coat")


def _tusks(s, p, skull, front, up) -> None:
    for side in (1.0, -1.0):
        root = skull + s.head * (side * 0.52 * X + 0.55 * Z - 0.72 * Y)
        tip = root + s.head * (side * 0.22 * X + 1.15 * Z - 0.30 * Y)
        p.add("head", root, tip, 0.14 * s.head, 0.06 * s.head, "accent")


def _beard(s, p, skull, front, up) -> None:
    chin = skull + (0.3 * s.head + 0.6 * s.snout) * front - 0.75 * s.head * up
    p.add("head", chin, chin - 0.85 * s.head * Y, 0.26 * s.head, 0.06 * s.head, "under")


def _ruff(s, p, skull, front, up) -> None:
    """A lion's mane: a thick collar behind the face and down the throat."""
    back = skull - 0.42 * s.head * Z
    p.ball("head", back + 0.05 * s.head * Y, 1.72 * s.head, "dark", flat=Z, thin=0.62)
    low = skull - 0.9 * s.head * Z - 0.75 * s.head * Y
    p.ball("neck", low, 1.5 * s.head, "dark", flat=X, thin=0.85)


def _brow(s, p, skull, front, up) -> None:
    for side in (1.0, -1.0):
        place = skull + s.head * (side * 0.50 * X + 0.72 * Y + 0.30 * Z)
        p.ball("head", place, 0.34 * s.head, "coat")
        p.ball("head", place + s.head * (side * 0.18 * X + 0.06 * Y + 0.18 * Z),
               0.2 * s.head, "eye")  # fmt: skip
        nostril = skull + (0.6 * s.head + s.snout) * front + 0.25 * s.head * up
        p.ball("head", nostril + side * 0.2 * s.head * X, 0.18 * s.head, "coat")


def _fangs(s, p, skull, front, up) -> None:
    for side in (1.0, -1.0):
        for place in (0.45, 0.85):
            width = 0.35 * s.head if "jaw" not in s.tags else 0.55 * s.head
            root = skull + (0.5 * s.head + place * s.snout) * front - 0.42 * s.head * up
            root = root + side * width * (1.0 - 0.25 * place) * X
            p.add("head", root, root - 0.34 * s.head * up, 0.09 * s.head, 0.02, "white")


HEADGEAR: dict[str, Callable] = {
    "horns": _horns,
    "swept horns": _swept_horns,
    "antlers": _antlers,
    "knobs": _knobs,
    "nose horn": _nose_horn,
    "trunk": _trunk,
    "tusks": _tusks,
    "beard": _beard,
    "ruff": _ruff,
    "brow": _brow,
    "fangs": _fangs,
}


# -- necks, tails ---------------------------------------------------------------------


def _neck(s: Species, p: _Parts, root, *, paint="coat", parent="chest"):
    """Neck of one bone, or two that curve; returns the joint of the head."""
    bend = 0.0
    bend = 24.0 if "swan neck" in s.tags else bend
    bend = 46.0 if "s neck" in s.tags else bend
    middle = root + 0.5 * s.neck * _slant(s.neck_angle - bend)
    end = middle + 0.5 * s.neck * _slant(s.neck_angle + bend)
    thick = s.neck_radius * (1.25 if s.neck > 0.3 else 1.12)
    p.bone("neck", parent, root)
    p.bone("neck2", "neck", middle)
    half = 0.5 * (thick + s.neck_radius)
    base = root - 0.25 * thick * _slant(s.neck_angle)
    long = {"long neck", "s neck", "bare neck", "mane"} & set(s.tags)
    belly = DOWN if s.plan in ("quadruped", "biped") else Z
    if long or s.neck > 0.35:
        thick = max(1.6 * s.neck_radius, thick) if "long neck" in s.tags else thick
        p.add("neck", base, middle, thick, half, paint, belly=0.5 * belly)
        p.add("neck2", middle, end, half, 0.92 * s.neck_radius, paint)
    else:
        p.add("neck", base, end, thick, s.neck_radius, paint, belly=0.8 * belly)
    if "mane" in s.tags:
        up = 0.9 * s.neck_radius * _slant(s.neck_angle + 90.0)
        p.add("neck", root + 0.9 * up, middle + up, 0.055, 0.055, "dark", thin=0.55)
        p.add("neck2", middle + up, end + 1.3 * up + 0.02 * Z, 0.055, 0.045, "dark",
              thin=0.55)  # fmt: skip
    if "dark face" in s.tags:
        p.ball(
            "neck2", end - 0.3 * s.head * Z + 0.55 * s.head * Y, 1.05 * s.head, "coat"
        )
    return end


def _tail(s: Species, p: _Parts, root, *, parent: str = "body", paint: str = "coat"):
    """Three bones that follow the tail angle, drooping, curling or sweeping up."""
    angles = {
        "curl": (0.0, 12.0, 55.0),
        "curl up": (-25.0, 0.0, 38.0),
        "s tail": (-12.0, 22.0, 58.0),
    }
    turns = next((a for tag, a in angles.items() if tag in s.tags), (0.0, -6.0, 4.0))
    if s.tail > 0.8:  # long heavy tails level out near the ground
        turns = (-6.0, 0.0, 12.0)
    length, points = s.tail / 3.0, [root]
    for turn in turns:
        points.append(points[-1] + length * _slant(s.tail_angle + turn, back=True))
    for i, name in enumerate(("tail1", "tail2", "tail3")):
        p.bone(name, parent if i == 0 else f"tail{i}", points[i])
    radii = _tail_radii(s)
    paint = "pink" if "pink tail" in s.tags else paint
    paint = "dark" if {"hair tail", "dark tail"} & set(s.tags) else paint
    paint = "white" if "white tail" in s.tags else paint
    last = "white" if "tip" in s.tags else paint
    if s.tail <= 0.2:
        p.add("tail1", points[0], points[3], radii[0], radii[3], paint)
    else:
        for i in range(3):
            color = last if i == 2 else paint
            p.add(f"tail{i + 1}", points[i], points[i + 1], radii[i], radii[i + 1],
                  color, belly=0.7 * DOWN if s.tail > 0.8 else None)  # fmt: skip
    if "tuft" in s.tags:
        p.add("tail3", points[3] - 0.1 * length * Y, points[3] + 0.7 * length * _slant(
            s.tail_angle + turns[2], back=True), 0.045, 0.02, "dark")  # fmt: skip
    return points


def _tail_radii(s: Species):
    r = s.tail_radius
    if "bushy" in s.tags:
        return (0.45 * r, 0.95 * r, 1.05 * r, 0.22 * r)
    if "hair tail" in s.tags:
        return (0.8 * r, 1.15 * r, r, 0.35 * r)
    if s.tail > 0.8 and s.tail_radius > 0.06:
        return (r, 0.66 * r, 0.38 * r, 0.14 * r)
    return (r, 0.95 * r, 0.85 * r, 0.7 * r)


# -- four legs ------------------------------------------------------------------------


def _quadruped(s: Species, p: _Parts) -> None:
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
    joint = _neck(s, p, root)
    _head(s, p, joint, parent="neck2")
    _tail(s, p, hip + s.hip * (0.45 * Y - 0.80 * Z))
    _trunk_extras(s, p, hip, middle, chest)
    for leg in LEGS:
        (_front_leg if "front" in leg else _hind_leg)(s, p, leg, chest, hip)


def _stance(s: Species, leg: str, radius: float):
    """Where a leg starts and which way it goes: down, or out for sprawlers."""
    side = _side(leg)
    wide = s.slim * radius
    out = side * X * (0.62 * wide if not s.sprawl else 0.8 * wide)
    down = DOWN if not s.sprawl else DOWN + 1.1 * s.sprawl * side * X
    return out, down


def _front_leg(s: Species, p: _Parts, leg: str, chest, hip) -> None:
    out, down = _stance(s, leg, s.chest)
    top = chest + out - 0.20 * s.chest * Y - 0.05 * Z
    drop = top[1]
    elbow = top + 0.42 * drop * down - 0.055 * s.bend * drop * 2 * Z
    wrist = elbow + (0.50 * drop) * DOWN + 0.06 * s.bend * drop * 2 * Z
    wrist[1] = s.foot + 0.02 * drop
    _limb(s, p, leg, "chest", (top, elbow, wrist), (1.45, 0.85, 0.62))
    _foot(s, p, leg, wrist)


def _hind_leg(s: Species, p: _Parts, leg: str, chest, hip) -> None:
    out, down = _stance(s, leg, s.hip)
    top = hip + out - 0.15 * s.hip * Y - 0.02 * Z
    drop = top[1]
    bend = s.bend * drop
    knee = top + 0.40 * drop * down + 0.13 * bend * Z
    hock = knee + 0.33 * drop * DOWN - 0.24 * bend * Z
    hock[1] = max(hock[1], s.foot + 0.10 * drop)
    ankle = hock + 0.06 * bend * Z
    ankle[1] = s.foot + 0.02 * drop
    names = _limb(s, p, leg, "body", (top, knee, hock), (1.9, 1.0, 0.66))
    p.bone(names[2], names[1], hock)
    paint = "dark" if "socks" in s.tags else "coat"
    p.add(names[2], hock, ankle, 0.64 * s.leg_radius, 0.58 * s.leg_radius, paint)
    _foot(s, p, leg, ankle, bone=names[2])


def _limb(s: Species, p: _Parts, leg: str, parent: str, joints, thick):
    """Upper and lower part of a leg; its bones' names."""
    names = tuple(f"{leg} {part}" for part in ("upper", "lower", "foot"))
    top, middle, low = joints
    r = [t * s.leg_radius for t in thick]
    p.bone(names[0], parent, top)
    p.bone(names[1], names[0], middle)
    upper = "dark" if "dark face" in s.tags else "coat"
    p.add(names[0], top, middle, r[0], r[1], upper, flat=X, thin=0.8)
    dark = {"socks", "dark face"} & set(s.tags)
    p.add(names[1], middle, low, r[1] * 0.95, r[2], "dark" if dark else "coat")
    return names


def _foot(s: Species, p: _Parts, leg: str, ankle, *, bone: str | None = None) -> None:
    if bone is None:
        bone = f"{leg} foot"
        p.bone(bone, f"{leg} lower", ankle)
    reach = 3.4 if "long feet" in s.tags and "hind" in leg else 1.0
    hoof = {"hooves", "socks", "dark face"} & set(s.tags)
    heel = ankle - (ankle[1] - s.foot) * Y
    toe = heel + reach * s.foot * Z * (0.5 if "hooves" in s.tags else 1.0)
    p.add(bone, heel, toe, s.foot, 0.92 * s.foot, "dark" if hoof else "coat")
    if "nails" in s.tags:
        p.ball(
            bone, toe + 0.55 * s.foot * Z - 0.45 * s.foot * Y, 0.55 * s.foot, "under"
        )


def _trunk_extras(s: Species, p: _Parts, hip, middle, chest) -> None:
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


# -- two legs -------------------------------------------------------------------------


def _bird(s: Species, p: _Parts) -> None:
    upright = "upright" in s.tags
    tilt = 74.0 if upright else 14.0
    way = _slant(tilt)
    low = s.leg + (0.75 if not upright else 0.55) * s.hip
    hip = np.array([0.0, low, -0.42 * s.length if not upright else -0.05])
    middle, chest = hip + 0.5 * s.length * way, hip + s.length * way
    belly = 0.9 * Z + 0.1 * DOWN if upright else DOWN
    p.bone("body", None, 0.5 * (hip + chest))
    p.bone("chest", "body", middle)
    trunk: dict[str, Any] = dict(flat=X, thin=s.slim, belly=belly)
    p.add("body", hip, middle, s.hip, s.waist, **trunk)
    p.add("chest", middle, chest, s.waist, s.chest, **trunk)
    out = _slant(s.neck_angle)
    root = chest + 0.55 * s.chest * out
    paint = "dark" if "bare neck" in s.tags else "coat"
    joint = _neck(s, p, root, paint=paint)
    _bird_head(s, p, joint, paint)
    _wings(s, p, hip, chest, way)
    _bird_tail(s, p, hip - 0.75 * s.hip * way)
    if "bib" in s.tags:
        low = hip + 0.42 * s.hip * Z + 0.05 * Y
        high = chest + 0.42 * s.chest * Z - 0.05 * Y
        p.add("body", low, high, 0.70 * s.hip, 0.62 * s.chest, "under", thin=1.1)
    for leg in ("hind left", "hind right"):
        _bird_leg(s, p, leg, 0.5 * (hip + middle) if not upright else hip)


def _bird_head(s: Species, p: _Parts, joint, paint: str) -> None:
    front, up = _slant(-s.droop), _slant(90.0 - s.droop)
    skull = joint + 0.25 * s.head * Y + 0.15 * s.head * Z
    p.bone("head", "neck2", joint)
    p.ball("head", skull, s.head, paint)
    root = skull + 0.55 * s.head * _slant(-0.5 * s.droop) - 0.12 * s.head * up
    tip = root + (0.45 * s.head + s.snout) * front
    thick = {"flat beak": 1.15, "hooked": 1.7}
    scale = next((v for tag, v in thick.items() if tag in s.tags), 1.0)
    r0 = max(0.32 * s.head, s.snout_radius) * scale
    flat: dict[str, Any] = (
        dict(flat=up, thin=0.42) if "flat beak" in s.tags else dict(flat=X, thin=0.75)
    )
    p.add("head", root, tip, r0, s.snout_radius, "accent", **flat)
    if "beak tip" in s.tags:
        p.add("head", tip - 0.3 * s.snout * front, tip + 0.12 * s.snout * _slant(-85.0),
              1.1 * s.snout_radius, 0.5 * s.snout_radius, "dark")  # fmt: skip
    if "face disc" in s.tags:
        for side in (1.0, -1.0):
            place = skull + s.head * (side * 0.40 * X + 0.62 * Z + 0.12 * Y)
            p.ball("head", place, 0.46 * s.head, "under", flat=Z, thin=0.5)
            p.ball("head", place + 0.20 * s.head * Z, 0.27 * s.head, "accent", flat=Z,
                   thin=0.6)  # fmt: skip
            p.ball("head", place + 0.31 * s.head * Z, 0.155 * s.head, "eye", flat=Z,
                   thin=0.7)  # fmt: skip
    else:
        if "cheeks" in s.tags:
            for side in (1.0, -1.0):
                place = skull + s.head * (side * 0.62 * X + 0.50 * Z + 0.1 * Y)
                p.ball("head", place, 0.42 * s.head, "white", flat=X, thin=0.7)
        _eyes(s, p, skull, _slant(0.0))
    if s.ear > 0.0:
        for side in (1.0, -1.0):
            foot = skull + s.head * (side * 0.50 * X + 0.72 * Y)
            angle = np.radians(s.ear_angle)
            top = foot + s.ear * (side * np.sin(angle) * X + np.cos(angle) * Y)
            p.add("head", foot, top, s.ear_width, 0.3 * s.ear_width, "dark")
    if "comb" in s.tags:
        for z, size in ((0.35, 0.30), (0.0, 0.38), (-0.35, 0.32)):
            p.ball(
                "head",
                skull + s.head * (1.0 * Y + z * Z),
                size * s.head,
                "red",
                thin=0.5,
            )
        chin = skull + s.head * (0.75 * Z - 0.5 * Y)
        low = chin - 0.5 * s.head * Y
        p.add("head", chin, low, 0.16 * s.head, 0.24 * s.head, "red", thin=0.6)


def _wings(s: Species, p: _Parts, hip, chest, way) -> None:
    """Folded wings on two bones each; `gait` opens them about the shoulder."""
    paint = "dark" if {"dark wings"} & set(s.tags) else "coat"
    for side, name in ((1.0, "wing left"), (-1.0, "wing right")):
        wide = s.slim * s.waist
        root = chest + side * 0.80 * s.slim * s.chest * X + 0.05 * s.chest * Y
        if "flippers" in s.tags:
            tip = root + side * 0.20 * X - 0.34 * Y - 0.02 * Z
            p.bone(name, "chest", root)
            p.bone(f"{name} tip", name, 0.5 * (root + tip))
            p.add(name, root, tip, 0.060, 0.035, "coat", flat=_across(tip - root, X),
                  thin=0.45)  # fmt: skip
            continue
        elbow = hip + 0.62 * (chest - hip) + side * 1.0 * wide * X + 0.10 * wide * Y
        tip = hip + side * 0.62 * wide * X + 0.15 * wide * Y - 0.45 * s.hip * way
        p.bone(name, "chest", root)
        p.bone(f"{name} tip", name, elbow)
        size = 0.52 * s.waist
        flat = _across(chest - hip, X)
        p.add(name, root, elbow, 0.75 * size, size, paint, flat=flat, thin=0.32)
        p.add(f"{name} tip", elbow, tip, size, 0.35 * size, paint, flat=flat, thin=0.32)


def _bird_tail(s: Species, p: _Parts, root) -> None:
    paint = "dark" if {"fan tail", "dark tail"} & set(s.tags) else "coat"
    paint = "white" if "white tail" in s.tags else paint
    tip = root + s.tail * _slant(s.tail_angle, back=True)
    p.bone("tail1", "body", root)
    flat, thin = (
        (X, 0.35)
        if "fan tail" in s.tags
        else (_slant(s.tail_angle + 90, back=True), 0.4)
    )
    wide = 1.3 if "fan tail" in s.tags else 0.8
    p.add(
        "tail1",
        root,
        tip,
        s.tail_radius,
        wide * s.tail_radius,
        paint,
        flat=flat,
        thin=thin,
    )


def _bird_leg(s: Species, p: _Parts, leg: str, hip) -> None:
    """Thigh, shank whose joint points back, and a spread foot."""
    side = _side(leg)
    names = tuple(f"{leg} {part}" for part in ("upper", "lower", "foot"))
    top = hip + side * 0.55 * s.slim * s.hip * X
    top[1] = min(top[1], s.leg * 1.08 + 0.1 * s.hip)
    drop = top[1] - 0.3 * s.foot
    knee = top - 0.46 * drop * Y - 0.02 * drop * Z
    ankle = np.array([knee[0], 0.35 * s.foot, knee[2] + 0.06 * drop])
    plain = "coat" if not {"bare legs"} & set(s.tags) else "dark"
    shin = "coat" if "pink legs" in s.tags else "accent"
    shin = "dark" if "bare legs" in s.tags else shin
    p.bone(names[0], "body", top)
    p.bone(names[1], names[0], knee)
    p.bone(names[2], names[1], ankle)
    thick = 2.0 if s.leg < 0.35 or "bare legs" in s.tags else 1.25
    upper = plain if "pink legs" not in s.tags else "coat"
    p.add(names[0], top, knee, thick * s.leg_radius, 1.05 * s.leg_radius, upper)
    p.add(names[1], knee, ankle, s.leg_radius, 0.85 * s.leg_radius, shin)
    foot = s.foot
    if {"webbed", "flippers"} & set(s.tags):
        heel, toe = ankle + 0.1 * foot * Z, ankle + 1.2 * foot * Z
        p.add(names[2], heel, toe, 0.45 * foot, 0.85 * foot, shin, flat=Y, thin=0.35)
    else:
        for x, z in ((0.0, 1.6), (0.85, 1.25), (-0.85, 1.25), (0.0, -0.9)):
            p.add(
                names[2],
                ankle,
                ankle + foot * (x * X + z * Z),
                0.30 * foot,
                0.2 * foot,
                shin,
            )


def _biped(s: Species, p: _Parts) -> None:
    reared = "reared" in s.tags
    way = _slant(52.0 if reared else 20.0)
    hip = np.array([0.0, s.leg + 0.1 * s.hip, -0.12])
    middle, chest = hip + 0.5 * s.length * way, hip + s.length * way
    belly = DOWN + 0.8 * Z if reared else DOWN
    belly = belly / np.linalg.norm(belly)
    p.bone("body", None, hip)
    p.bone("chest", "body", middle)
    trunk: dict[str, Any] = dict(flat=X, thin=s.slim, belly=belly)
    p.add("body", hip, middle, s.hip, s.waist, **trunk)
    p.add("chest", middle, chest, s.waist, s.chest, **trunk)
    joint = _neck(s, p, chest + 0.45 * s.chest * _slant(s.neck_angle))
    _head(s, p, joint, parent="neck2")
    _tail(s, p, hip - 0.75 * s.hip * way)
    for leg in ("hind left", "hind right"):
        _strong_leg(s, p, leg, hip)
    for leg in ("front left", "front right"):
        _arm(s, p, leg, chest)


def _strong_leg(s: Species, p: _Parts, leg: str, hip) -> None:
    side = _side(leg)
    names = tuple(f"{leg} {part}" for part in ("upper", "lower", "foot"))
    top = hip + side * 0.62 * s.slim * s.hip * X
    knee = top + np.array([side * 0.03, -0.36 * s.leg, 0.36 * s.leg])
    hock = knee + np.array([0.0, -0.36 * s.leg, -0.52 * s.leg])
    ankle = np.array([hock[0], s.foot, hock[2] + 0.14 * s.leg])
    r = s.leg_radius
    p.bone(names[0], "body", top)
    p.bone(names[1], names[0], knee)
    p.bone(names[2], names[1], hock)
    p.add(names[0], top, knee, 1.55 * r, 0.9 * r, flat=X, thin=0.75)
    p.add(names[1], knee, hock, 0.85 * r, 0.5 * r)
    p.add(names[2], hock, ankle, 0.5 * r, 0.5 * r)
    reach = 4.2 if "long feet" in s.tags else 2.0
    spread = (0.0,) if "long feet" in s.tags else (-0.9, 0.0, 0.9)
    for x in spread:
        toe = ankle + s.foot * (x * X + reach * Z)
        paint = "dark" if "toes" in s.tags else "coat"
        p.add(names[2], ankle, toe, s.foot, 0.6 * s.foot, paint, flat=Y, thin=0.8)


def _arm(s: Species, p: _Parts, leg: str, chest) -> None:
    side = _side(leg)
    top = (
        chest
        + side * 0.75 * s.slim * s.chest * X
        - 0.25 * s.chest * Y
        + 0.3 * s.chest * Z
    )
    long = 0.17 if "reared" in s.tags else 0.12
    elbow = top + long * np.array([side * 0.25, -0.85, -0.15])
    wrist = elbow + long * np.array([-side * 0.1, -0.45, 0.85])
    names = tuple(f"{leg} {part}" for part in ("upper", "lower"))
    p.bone(names[0], "chest", top)
    p.bone(names[1], names[0], elbow)
    p.add(names[0], top, elbow, 0.040, 0.028)
    p.add(names[1], elbow, wrist, 0.028, 0.024, "coat")


# -- swimmers -------------------------------------------------------------------------


def _swimmer(s: Species, p: _Parts) -> None:
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
    _swimmer_eyes(s, p, spine[0])
    _fins(s, p, spine)


def _swimmer_eyes(s: Species, p: _Parts, skull) -> None:
    size = s.eye * s.head
    for side in (1.0, -1.0):
        wide = s.slim * s.head
        place = skull + side * 0.93 * wide * X + 0.22 * s.head * Y + 0.35 * s.head * Z
        if "veil" in s.tags:
            p.ball("head", place, 1.5 * size, "white", flat=X, thin=0.5)
            place = place + side * 0.45 * size * X
        p.ball("head", place, size, "eye")


def _fins(s: Species, p: _Parts, spine) -> None:
    end, low, wide = spine[4], 0.5 * s.chest, s.slim * s.chest
    paint = "dark"
    for side, name in ((1.0, "fin left"), (-1.0, "fin right")):
        root = spine[1] - low * Y + 0.65 * side * wide * X - 0.05 * Z
        reach = 0.9 * s.chest + 0.10
        tip = root + reach * np.array([side * 0.85, -0.42, -0.75])
        p.bone(name, "chest", root)
        flat = _across(tip - root, Y)
        p.add(
            name, root, tip, 0.42 * s.chest, 0.12 * s.chest, paint, flat=flat, thin=0.22
        )
    if "flukes" in s.tags:
        for side in (1.0, -1.0):
            tip = end + s.tail * (side * 0.85 * X - 0.55 * Z)
            p.add(
                "tail3",
                end,
                tip,
                s.tail_radius,
                0.35 * s.tail_radius,
                paint,
                flat=Y,
                thin=0.25,
            )
    if "upright tail" in s.tags:
        up = 1.15 if "long tail lobe" in s.tags else 0.85
        for y in (up, -0.62 if "long tail lobe" in s.tags else -0.85):
            tip = end + s.tail * (y * Y - 0.75 * Z)
            p.add("tail3", end, tip, 0.7 * s.tail_radius, 0.45 * s.tail_radius, paint,
                  flat=X, thin=0.25)  # fmt: skip
    if "back fin" in s.tags:
        root = spine[1] + 0.35 * (spine[2] - spine[1]) + 0.80 * s.waist * Y
        tip = root + 0.19 * Y - 0.13 * Z
        p.add("body", root, tip, 0.105, 0.03, paint, flat=X, thin=0.25)
    if "veil" in s.tags:
        for a, b in ((0.30, 0.50), (0.50, 0.72)):
            root = (
                spine[0] + (0.5 * a + 0.1) * (spine[4] - spine[0]) + 0.92 * s.waist * Y
            )
            tip = (
                spine[0]
                + b * (spine[4] - spine[0])
                + (1.25 if b < 0.6 else 0.85) * s.waist * Y
            )
            p.add("body", root, tip, 0.09, 0.05, paint, flat=X, thin=0.25)
        low = spine[2] - 0.75 * s.waist * Y
        p.add(
            "tail1",
            low,
            low - 0.10 * Y - 0.12 * Z,
            0.07,
            0.04,
            paint,
            flat=X,
            thin=0.25,
        )


PLANS: dict[str, Callable] = {
    "quadruped": _quadruped,
    "bird": _bird,
    "biped": _biped,
    "swimmer": _swimmer,
}
