"""Poses and gaits: rotations of named bones as continuous functions of a phase.

The phase is in radians, one stride per 2 pi. A leg's own phase is 0 where it touches
down in front, pi where it leaves the ground behind; ``lift`` is its share of the swing.
Signs: a turn about +x lowers the nose and sends a foot backward, about +y looks left.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adreamer_jax.data.species import Species
from adreamer_jax.types import Float

__all__ = ["POSES", "poses_of", "turns"]

Phase = Float[np.ndarray, "t"]
Turns = dict[str, Float[np.ndarray, "t 3 3"]]

POSES = (
    "standing",
    "walking",
    "running",
    "eating",
    "sitting",
    "flying",
    "swimming",
    "diving",
    "jumping",
)
FLYERS = ("duck", "swan", "flamingo", "owl", "parrot")
STIFF = ("crocodile", "turtle", "hippo", "rhino", "dinosaur", "giraffe", "camel")
WALK = {"hind left": 0.0, "front left": 0.25, "hind right": 0.5, "front right": 0.75}
GALLOP = {"hind left": 0.0, "hind right": 0.12, "front left": 0.5, "front right": 0.62}


def poses_of(species: Species) -> tuple[str, ...]:
    """The poses that a species takes."""
    if species.plan == "swimmer":
        return ("swimming", "diving", "jumping")
    plain = ("standing", "walking", "running", "eating")
    if species.plan == "quadruped":
        return plain if species.name in STIFF else (*plain, "sitting")
    return (*plain, "flying") if species.name in FLYERS else plain


def turns(
    species: Species, pose: str, phase: Phase, *, look: float = 0.0, wag: float = 0.2
) -> Turns:
    """Rotation of each moving bone about its head, for every phase.

    ``look`` turns head and neck to the left; ``wag`` swings the tail.
    """
    out = MOVES[species.plan](species, pose, np.asarray(phase, float))
    if species.plan != "swimmer":  # a swimmer's whole spine is already its gait
        _also(out, "neck", _y(0.5 * look + 0 * phase))
        _also(out, "head", _y(0.5 * look + 0 * phase))
        for i, share in enumerate((1.0, 0.7, 0.7)):
            _also(out, f"tail{i + 1}", _y(wag * share * np.sin(phase - 0.7 * i)))
    return out


def _also(out: Turns, bone: str, turn) -> None:
    out[bone] = turn @ out[bone] if bone in out else turn


def _axis(first: int, angle) -> Float[np.ndarray, "t 3 3"]:
    """Rotation about coordinate axis ``first``."""
    angle = np.asarray(angle, float)
    i, j = (first + 1) % 3, (first + 2) % 3
    out = np.zeros((*angle.shape, 3, 3))
    out[..., first, first] = 1.0
    out[..., i, i] = out[..., j, j] = np.cos(angle)
    out[..., j, i] = np.sin(angle)
    out[..., i, j] = -np.sin(angle)
    return out


_x = lambda angle: _axis(0, angle)
_y = lambda angle: _axis(1, angle)
_z = lambda angle: _axis(2, angle)


# -- legs -----------------------------------------------------------------------------


def _stride(phase: Phase, *, reach: float, lift: float):
    """Forward swing and lift of a leg; smooth, the swing a little quicker."""
    own = phase + 0.25 * np.sin(phase)
    up = np.maximum(0.0, -np.sin(own)) ** 2
    return reach * np.cos(own), lift * up


def _front_leg(out: Turns, leg: str, phase: Phase, *, reach: float, lift: float):
    swing, up = _stride(phase, reach=reach, lift=lift)
    out[f"{leg} upper"] = _x(-swing - 0.35 * up)
    out[f"{leg} lower"] = _x(1.15 * up + 0.10 * reach - 0.10 * swing)
    out[f"{leg} foot"] = _x(0.9 * up + 0.55 * swing)


def _hind_leg(out: Turns, leg: str, phase: Phase, *, reach: float, lift: float):
    swing, up = _stride(phase, reach=reach, lift=lift)
    out[f"{leg} upper"] = _x(-swing - 0.65 * up)
    out[f"{leg} lower"] = _x(1.25 * up - 0.15 * swing)
    out[f"{leg} foot"] = _x(-0.55 * up + 0.5 * swing)


def _legs(out: Turns, phase: Phase, lags: dict[str, float], **numbers) -> None:
    for leg, lag in lags.items():
        move = _front_leg if "front" in leg else _hind_leg
        move(out, leg, phase - 2 * np.pi * lag, **numbers)


# -- plans ----------------------------------------------------------------------------


def _quadruped(s: Species, pose: str, phase: Phase) -> Turns:
    out: Turns = {}
    zero = 0 * phase
    short = np.clip(0.42 / s.leg, 0.75, 1.35) * (0.75 if s.bend < 0.4 else 1.0)
    if pose == "walking":
        _legs(out, phase, WALK, reach=0.46 * short, lift=0.85)
        out["neck"] = _x(0.05 * np.sin(2 * phase))
        out["body"] = _z(0.03 * np.sin(phase)) @ _x(0.02 * np.sin(2 * phase + 1))
        out["chest"] = _y(0.06 * np.cos(phase))
    elif pose == "running":
        _legs(out, phase, GALLOP, reach=0.80 * short, lift=1.15)
        out["body"] = _x(0.10 * np.sin(phase) - 0.02)
        out["chest"] = _x(0.13 - 0.20 * np.cos(phase - 0.4))
        out["neck"] = _x(0.16 + 0.10 * np.sin(phase + 0.6))
        out["tail1"] = _x(0.35 + 0.15 * np.sin(phase))
    elif pose == "eating":
        _graze(out, s, phase)
    elif pose == "sitting":
        out["body"] = _x(zero - 0.72)
        out["chest"] = _x(zero - 0.10)
        out["neck"] = _x(zero + 0.55)
        out["head"] = _x(0.22 + 0.04 * np.sin(phase))
        for side in ("left", "right"):
            out[f"hind {side} upper"] = _x(zero - 0.85)
            out[f"hind {side} lower"] = _x(zero + 1.35)
            out[f"hind {side} foot"] = _x(zero + 0.25)
            out[f"front {side} upper"] = _x(zero + 0.80)
            out[f"front {side} foot"] = _x(zero - 0.05)
        out["tail1"] = _x(zero + 0.10)
    else:
        out["neck"] = _x(0.03 * np.sin(phase))
    if "trunk" in s.tags:
        for i in range(3):
            out[f"trunk{i + 1}"] = _x(0.12 * np.sin(phase - 0.8 * i)) @ _y(
                0.10 * np.sin(0.5 * phase + i)
            )
    return out


def _graze(out: Turns, s: Species, phase: Phase) -> None:
    """Bring the mouth to the ground: the neck by its height, the head to 55 degrees."""
    height = s.leg + 0.72 * s.chest
    reach = s.neck + 0.6 * s.snout + s.head
    low = np.arcsin(np.clip((height - 0.12) / reach, 0.1, 0.93))
    down = np.radians(s.neck_angle) + low
    nose = np.radians(55.0 - s.droop) - down
    out["neck"] = _x(0.85 * down + 0.03 * np.sin(phase))
    out["neck2"] = _x(0.15 * down + 0 * phase)
    out["head"] = _x(nose + 0.06 * np.sin(2 * phase))


def _bird(s: Species, pose: str, phase: Phase) -> Turns:
    out: Turns = {}
    zero = 0 * phase
    lags = {"hind left": 0.0, "hind right": 0.5}
    if pose == "walking":
        _legs(out, phase, lags, reach=0.48, lift=0.75)
        out["body"] = _z(0.05 * np.sin(phase))
        out["neck"] = _x(0.10 * np.sin(2 * phase))
    elif pose == "running":
        _legs(out, phase, lags, reach=0.80, lift=1.15)
        out["body"] = _x(0.14 + 0.05 * np.sin(2 * phase))
        out["neck"] = _x(0.12 + 0.10 * np.sin(2 * phase))
        _wings(out, s, phase, spread=0.30, flap=0.12)
    elif pose == "eating":
        _peck(out, s, phase)
    elif pose == "flying":
        out["body"] = _x(zero + (0.75 if "upright" in s.tags else 0.1))
        if "upright" in s.tags:
            out["head"] = _x(zero - 0.55)
        elif s.neck > 0.3:
            out["neck"] = _x(zero + 0.55)
        for side in ("left", "right"):
            out[f"hind {side} upper"] = _x(zero + 1.05)
            out[f"hind {side} lower"] = _x(zero + 0.35)
            out[f"hind {side} foot"] = _x(zero + 0.6)
        _wings(out, s, phase, spread=1.0, flap=0.55)
    else:
        out["neck"] = _x(0.04 * np.sin(phase))
    return out


def _peck(out: Turns, s: Species, phase: Phase) -> None:
    out["body"] = _x(0.42 + 0 * phase)
    legs = -0.42
    height = s.leg + 0.9 * s.chest
    low = np.arcsin(np.clip((height - 0.05) / (s.neck + s.snout + s.chest), 0.1, 0.97))
    down = np.radians(0.8 * s.neck_angle) + low - 0.42
    out["neck"] = _x(0.75 * down + 0.06 * np.sin(2 * phase))
    out["head"] = _x(np.clip(1.0 - 0.42 - down, -0.5, 0.4) + 0.1 * np.sin(2 * phase))
    for side in ("left", "right"):
        out[f"hind {side} upper"] = _x(legs + 0 * phase)


def _wings(out: Turns, s: Species, phase: Phase, *, spread: float, flap: float) -> None:
    """Open the wings: twist them flat, swing them out, then beat about the trunk."""
    beat = flap * np.sin(phase)
    tip = 0.8 * flap * np.sin(phase - 0.9)
    half = 0.5 * np.pi * spread
    for side, name in ((1.0, "left"), (-1.0, "right")):
        if "upright" in s.tags:
            turn = _z(side * (0.92 * half + beat))
        else:
            turn = _z(side * beat) @ _y(-side * half) @ _z(side * half)
        out[f"wing {name}"] = turn
        bend = _z(side * tip) if "upright" in s.tags else _x(-tip)
        out[f"wing {name} tip"] = bend


def _biped(s: Species, pose: str, phase: Phase) -> Turns:
    out: Turns = {}
    lags = {"hind left": 0.0, "hind right": 0.5}
    if s.name == "kangaroo" and pose in ("walking", "running"):  # it hops
        lags = {"hind left": 0.0, "hind right": 0.0}
    if pose in ("walking", "running"):
        fast = pose == "running"
        _legs(out, phase, lags, reach=0.75 if fast else 0.48, lift=0.9 if fast else 0.6)
        out["body"] = _x(0.12 * fast + 0.05 * np.sin(2 * phase))
        out["neck"] = _x(0.08 * np.sin(2 * phase + 1) + 0.1 * fast)
        out["tail1"] = _x(0.10 * np.sin(2 * phase))
        for side, lag in (("left", np.pi), ("right", 0.0)):
            out[f"front {side} upper"] = _x(0.25 * np.cos(phase - lag))
    elif pose == "eating":
        tip = 0.55 if s.name == "kangaroo" else 0.45
        out["body"] = _x(tip + 0 * phase)
        for side in ("left", "right"):
            out[f"hind {side} upper"] = _x(-tip + 0 * phase)
        out["chest"] = _x(0.25 + 0 * phase)
        out["neck"] = _x(0.75 + 0.05 * np.sin(2 * phase))
        out["head"] = _x(-0.35 + 0.08 * np.sin(2 * phase))
        out["tail1"] = _x(-0.4 * tip + 0 * phase)
    if "jaw" in s.tags:
        out["jaw"] = _x(0.10 + 0.12 * np.sin(phase))
    return out


def _swimmer(s: Species, pose: str, phase: Phase) -> Turns:
    """A wave that runs down the spine: sideways for fish, up and down for whales."""
    out: Turns = {}
    bend = _x if "flukes" in s.tags else _y
    tilt = {"diving": 0.75, "jumping": -0.70}.get(pose, 0.0)
    arch = {"diving": 0.10, "jumping": 0.22}.get(pose, 0.0)
    wave = lambda size, lag: size * np.sin(phase - lag)
    out["body"] = _x(tilt + 0 * phase) @ bend(wave(0.07, 0.0))
    for name, size, lag in (
        ("tail1", 0.16, 0.9),
        ("tail2", 0.24, 1.8),
        ("tail3", 0.34, 2.7),
    ):
        out[name] = _x(-arch + 0 * phase) @ bend(wave(size, lag))
    out["head"] = _x(arch + 0 * phase) @ bend(wave(-0.06, 0.3))
    for side, name in ((1.0, "fin left"), (-1.0, "fin right")):
        out[name] = _z(side * (0.25 * np.sin(phase)))
    return out


MOVES: dict[str, Callable[[Species, str, Phase], Turns]] = {
    "quadruped": _quadruped,
    "bird": _bird,
    "biped": _biped,
    "swimmer": _swimmer,
}
