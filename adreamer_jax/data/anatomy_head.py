"""Heads of all bodies: skulls, snouts, beaks, eyes, ears, and what grows on them.

Every function adds to the parts of a body; ``s`` are the numbers of the species.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adreamer_jax.data.anatomy_parts import DOWN, Parts, X, Y, Z, across, slant
from adreamer_jax.data.species import Species


def add_head(s: Species, p: Parts, joint, *, parent: str = "neck") -> None:
    """Skull, snout, nose, eyes and ears; the face looks along the drooping snout."""
    front, up = slant(-s.droop), slant(90.0 - s.droop)
    flat_face = slant(-0.4 * s.droop)
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


def _snout(s: Species, p: Parts, skull, front, up, paint) -> None:
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


def _eyes(s: Species, p: Parts, skull, front, *, bone: str = "head") -> None:
    up = np.cross(front, X)
    size = s.eye * s.head
    for side in (1.0, -1.0):
        place = np.array([side * 0.70, 0.0, 0.0]) + 0.36 * up + 0.58 * front
        center = skull + (s.head * 1.02 - 0.35 * size) * place / np.linalg.norm(place)
        p.ball(bone, center, size, "eye")
        glint = 0.62 * size * (side * 0.45 * X + 0.75 * up + 0.5 * front)
        p.ball(bone, center + glint, 0.34 * size, "white")


def _ears(s: Species, p: Parts, skull, front) -> None:
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
            flat = across(way, front)
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


def _fan_ears(s: Species, p: Parts, skull) -> None:
    """An elephant's: broad sheets that hang back from the cheeks."""
    for side in (1.0, -1.0):
        name = f"ear {'left' if side > 0 else 'right'}"
        root = skull + s.head * (side * 0.80 * X + 0.30 * Y - 0.30 * Z)
        out = side * 0.75 * X - 0.60 * Z
        flat = across(out, side * X + 1.2 * Z)
        p.bone(name, "head", root)
        near, far = root + 0.30 * s.ear * out, root + s.ear * (0.65 * out - 0.4 * Y)
        p.add(name, near, far, s.ear_width, 0.75 * s.ear_width, flat=flat, thin=0.2)


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
    top = tip + 1.45 * s.head * slant(66.0)
    p.add("head", tip - 0.1 * s.head * up, top, 0.42 * s.head, 0.06 * s.head, "accent")
    low = tip - 0.95 * s.head * front + 0.05 * s.head * up
    p.add("head", low, low + 0.62 * s.head * slant(75.0), 0.27 * s.head, 0.06 * s.head,
          "accent")  # fmt: skip


def _trunk(s, p, skull, front, up) -> None:
    root = skull + (0.62 * s.head + s.snout) * front - 0.22 * s.head * up
    middle = root + 1.25 * s.head * slant(-78.0)
    low = middle + 1.05 * s.head * slant(-84.0)
    tip = low + 0.55 * s.head * slant(-20.0)
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


def add_bird_head(s: Species, p: Parts, joint, paint: str) -> None:
    """Skull, beak, comb and eyes of a bird on the joint of its neck."""
    front, up = slant(-s.droop), slant(90.0 - s.droop)
    skull = joint + 0.25 * s.head * Y + 0.15 * s.head * Z
    p.bone("head", "neck2", joint)
    p.ball("head", skull, s.head, paint)
    root = skull + 0.55 * s.head * slant(-0.5 * s.droop) - 0.12 * s.head * up
    tip = root + (0.45 * s.head + s.snout) * front
    thick = {"flat beak": 1.15, "hooked": 1.7}
    scale = next((v for tag, v in thick.items() if tag in s.tags), 1.0)
    r0 = max(0.32 * s.head, s.snout_radius) * scale
    flat: dict[str, Any] = (
        dict(flat=up, thin=0.42) if "flat beak" in s.tags else dict(flat=X, thin=0.75)
    )
    p.add("head", root, tip, r0, s.snout_radius, "accent", **flat)
    if "beak tip" in s.tags:
        p.add("head", tip - 0.3 * s.snout * front, tip + 0.12 * s.snout * slant(-85.0),
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
        _eyes(s, p, skull, slant(0.0))
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


def add_swimmer_eyes(s: Species, p: Parts, skull) -> None:
    """An eye on each side of a swimmer's head, which is the end of its spine."""
    size = s.eye * s.head
    for side in (1.0, -1.0):
        wide = s.slim * s.head
        place = skull + side * 0.93 * wide * X + 0.22 * s.head * Y + 0.35 * s.head * Z
        if "veil" in s.tags:
            p.ball("head", place, 1.5 * size, "white", flat=X, thin=0.5)
            place = place + side * 0.45 * size * X
        p.ball("head", place, size, "eye")
