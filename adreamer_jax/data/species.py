"""The table of animals: some twenty numbers and a few tags for each species.

Lengths are in units of about the animal's trunk, angles in degrees; `anatomy` turns a
row into bones and capsules. "length" is hip to shoulder for quadrupeds, tail root to
breast for birds, nose to tail root for swimmers. "trunk", "beak" and the like are tags.
"""

from __future__ import annotations

import dataclasses

__all__ = ["COLORS", "EVALUATION_SPECIES", "SPECIES", "TRAINING_SPECIES", "Species"]

Rgb = tuple[float, float, float]

COLORS: dict[str, Rgb] = {
    "red": (0.80, 0.10, 0.08),
    "orange": (0.93, 0.47, 0.08),
    "yellow": (0.93, 0.80, 0.15),
    "green": (0.18, 0.60, 0.20),
    "turquoise": (0.15, 0.68, 0.68),
    "blue": (0.13, 0.28, 0.80),
    "purple": (0.47, 0.16, 0.66),
    "pink": (0.95, 0.55, 0.70),
    "brown": (0.43, 0.25, 0.12),
    "white": (0.92, 0.92, 0.90),
    "gray": (0.50, 0.51, 0.54),
    "black": (0.10, 0.10, 0.11),
}

WHITE, CREAM, DARK = (0.93, 0.92, 0.89), (0.90, 0.83, 0.70), (0.10, 0.085, 0.08)


@dataclasses.dataclass(frozen=True)
class Species:
    """One row: a body plan, its proportions and its natural looks."""

    name: str
    plan: str  # quadruped, bird, biped or swimmer
    coat: Rgb
    under: Rgb = CREAM
    dark: Rgb = DARK  # feet, mane, marks
    accent: Rgb = (0.55, 0.35, 0.30)  # beak, comb, horn, nose
    pattern: str = "plain"
    length: float = 0.60
    chest: float = 0.16
    hip: float = 0.14
    waist: float = 0.13
    slim: float = 0.85  # width of the trunk over its height
    leg: float = 0.42
    leg_radius: float = 0.05
    foot: float = 0.04
    bend: float = 1.0  # how much the leg zigzags at rest
    sprawl: float = 0.0  # 0 legs below the trunk, 1 out to the sides
    neck: float = 0.18
    neck_angle: float = 40.0  # above the horizontal
    neck_radius: float = 0.09
    head: float = 0.12
    snout: float = 0.14
    snout_radius: float = 0.05
    droop: float = 15.0  # of the snout, below the horizontal
    ear: float = 0.10
    ear_width: float = 0.05
    ear_angle: float = 25.0  # outward from straight up
    tail: float = 0.40
    tail_radius: float = 0.03
    tail_angle: float = -20.0  # above the horizontal, backward
    eye: float = 0.17  # over the head's radius
    tags: tuple[str, ...] = ()


def _quadruped(name: str, coat: Rgb, **numbers) -> Species:
    return Species(name, "quadruped", coat, **numbers)


def _bird(name: str, coat: Rgb, **numbers) -> Species:
    base = dict(slim=0.9, ear=0.0, tail=0.25, tail_radius=0.05, bend=1.0)
    return Species(name, "bird", coat, **{**base, **numbers})


def _biped(name: str, coat: Rgb, **numbers) -> Species:
    return Species(name, "biped", coat, **numbers)


def _swimmer(name: str, coat: Rgb, **numbers) -> Species:
    return Species(name, "swimmer", coat, **{**dict(ear=0.0), **numbers})


_ROWS = (
    _quadruped(
        "fox", (0.86, 0.40, 0.09), under=WHITE, dark=(0.17, 0.12, 0.10), length=0.58,
        chest=0.145, hip=0.12,
        waist=0.115, leg=0.47, leg_radius=0.046, foot=0.031, neck=0.17, neck_angle=42,
        neck_radius=0.095, head=0.125, snout=0.19, snout_radius=0.032, droop=12,
        ear=0.19, ear_width=0.07, ear_angle=20, tail=0.62, tail_radius=0.085,
        tail_angle=-22, tags=("bushy", "tip", "socks", "bib", "dark ears"),
    ),
    _quadruped(
        "dog", (0.62, 0.42, 0.22), length=0.60, chest=0.17, hip=0.135, waist=0.125,
        leg=0.46, leg_radius=0.056, foot=0.045, neck=0.22, neck_angle=52,
        neck_radius=0.10, head=0.135, snout=0.18, snout_radius=0.06, droop=14,
        ear=0.19, ear_width=0.075, ear_angle=150, tail=0.36, tail_radius=0.035,
        tail_angle=50, tags=("floppy",),
    ),
    _quadruped(
        "cat", (0.80, 0.52, 0.22), pattern="striped", dark=(0.48, 0.25, 0.08),
        length=0.52, chest=0.125, hip=0.125, waist=0.115, leg=0.34, leg_radius=0.045,
        foot=0.04, neck=0.13, neck_angle=45, neck_radius=0.085, head=0.145, snout=0.075,
        snout_radius=0.055, droop=10, ear=0.12, ear_width=0.065, ear_angle=22,
        tail=0.62, tail_radius=0.032, tail_angle=65, tags=("curl",), eye=0.2,
    ),
    _quadruped(
        "horse", (0.45, 0.23, 0.10), dark=(0.09, 0.06, 0.05), length=0.66, chest=0.19,
        hip=0.18, waist=0.165, leg=0.66, leg_radius=0.062, foot=0.042, neck=0.42,
        neck_angle=52, neck_radius=0.105, head=0.105, snout=0.27, snout_radius=0.062,
        droop=42, ear=0.10, ear_width=0.035, ear_angle=12, tail=0.55, tail_radius=0.05,
        tail_angle=-62, tags=("mane", "hooves", "hair tail"),
    ),
    _quadruped(
        "zebra", (0.93, 0.92, 0.90), under=WHITE, pattern="striped", length=0.62,
        chest=0.18, hip=0.175, waist=0.165, leg=0.56, leg_radius=0.058, foot=0.042,
        neck=0.34, neck_angle=50, neck_radius=0.105, head=0.105, snout=0.23,
        snout_radius=0.06, droop=38, ear=0.12, ear_width=0.05, ear_angle=18, tail=0.4,
        tail_radius=0.028, tail_angle=-65, tags=("mane", "hooves", "tuft"),
    ),
    _quadruped(
        "cow", (0.93, 0.92, 0.90), pattern="patched", accent=(0.85, 0.60, 0.55),
        length=0.74, chest=0.23, hip=0.21, waist=0.225, slim=0.9, leg=0.5,
        leg_radius=0.065, foot=0.05, neck=0.24, neck_angle=20, neck_radius=0.13,
        head=0.13, snout=0.22, snout_radius=0.085, droop=35, ear=0.15, ear_width=0.05,
        ear_angle=95, tail=0.52, tail_radius=0.022, tail_angle=-75,
        tags=("horns", "hooves", "tuft", "udder", "muzzle"),
    ),
    _quadruped(
        "pig", (0.94, 0.66, 0.64), under=(0.96, 0.74, 0.72), accent=(0.88, 0.50, 0.52),
        length=0.60, chest=0.22, hip=0.215, waist=0.235, slim=0.95, leg=0.29,
        leg_radius=0.062, foot=0.045, bend=0.5, neck=0.12, neck_angle=8,
        neck_radius=0.17, head=0.16, snout=0.17, snout_radius=0.078, droop=18, ear=0.15,
        ear_width=0.075, ear_angle=45, tail=0.16, tail_radius=0.02, tail_angle=40,
        tags=("disc", "curl", "hooves"),
    ),
    _quadruped(
        "sheep", (0.92, 0.90, 0.84), dark=(0.13, 0.11, 0.10), length=0.52, chest=0.235,
        hip=0.235, waist=0.25, slim=0.95, leg=0.34, leg_radius=0.05, foot=0.038,
        bend=0.6, neck=0.19, neck_angle=28, neck_radius=0.13, head=0.11, snout=0.16,
        snout_radius=0.06, droop=38, ear=0.13, ear_width=0.045, ear_angle=105,
        tail=0.12, tail_radius=0.05, tail_angle=-40, tags=("wool", "dark face"),
    ),
    _quadruped(
        "goat", (0.72, 0.66, 0.58), dark=(0.25, 0.21, 0.18), length=0.52, chest=0.17,
        hip=0.16, waist=0.17, leg=0.42, leg_radius=0.045, foot=0.036, neck=0.25,
        neck_angle=55, neck_radius=0.085, head=0.10, snout=0.18, snout_radius=0.048,
        droop=38, ear=0.13, ear_width=0.04, ear_angle=110, tail=0.12, tail_radius=0.03,
        tail_angle=35, tags=("swept horns", "beard", "hooves", "socks"),
    ),
    _quadruped(
        "elephant", (0.48, 0.48, 0.51), under=(0.46, 0.46, 0.49),
        accent=(0.92, 0.90, 0.82), length=0.62, chest=0.30, hip=0.29, waist=0.31,
        slim=0.88, leg=0.48, leg_radius=0.10, foot=0.095, bend=0.15, neck=0.10,
        neck_angle=25, neck_radius=0.22, head=0.205, snout=0.14, snout_radius=0.11,
        droop=62, ear=0.30, ear_width=0.22, ear_angle=80, tail=0.38, tail_radius=0.022,
        tail_angle=-72, eye=0.10, tags=("trunk", "tusks", "fan ears", "tuft", "nails"),
    ),
    _quadruped(
        "rhino", (0.47, 0.45, 0.45), under=(0.47, 0.45, 0.45),
        accent=(0.75, 0.71, 0.63), length=0.70, chest=0.265, hip=0.25, waist=0.265,
        leg=0.36, leg_radius=0.088, foot=0.078, bend=0.25, neck=0.20, neck_angle=2,
        neck_radius=0.18, head=0.16, snout=0.25, snout_radius=0.095, droop=28, ear=0.11,
        ear_width=0.05, ear_angle=25, tail=0.28, tail_radius=0.022, tail_angle=-70,
        eye=0.12, tags=("nose horn", "tuft", "nails"),
    ),
    _quadruped(
        "hippo", (0.50, 0.40, 0.42), under=(0.68, 0.52, 0.52),
        accent=(0.42, 0.32, 0.34), length=0.72, chest=0.28, hip=0.275, waist=0.30,
        slim=0.95, leg=0.24, leg_radius=0.092, foot=0.08, bend=0.2, neck=0.14,
        neck_angle=8, neck_radius=0.22, head=0.175, snout=0.25, snout_radius=0.16,
        droop=20, ear=0.06, ear_width=0.04, ear_angle=30, tail=0.12, tail_radius=0.03,
        tail_angle=-60, eye=0.13, tags=("muzzle",),
    ),
    _quadruped(
        "giraffe", (0.90, 0.72, 0.42), under=CREAM, dark=(0.52, 0.28, 0.10),
        pattern="netted", length=0.50, chest=0.185, hip=0.16, waist=0.16, leg=0.80,
        leg_radius=0.055, foot=0.042, neck=0.92, neck_angle=66, neck_radius=0.075,
        head=0.09, snout=0.20, snout_radius=0.05, droop=28, ear=0.11, ear_width=0.035,
        ear_angle=75, tail=0.46, tail_radius=0.02, tail_angle=-75,
        tags=("long neck", "knobs", "hooves", "tuft"),
    ),
    _quadruped(
        "camel", (0.76, 0.57, 0.33), under=(0.78, 0.62, 0.40),
        dark=(0.45, 0.30, 0.16), length=0.62, chest=0.20, hip=0.18, waist=0.185,
        leg=0.66, leg_radius=0.055, foot=0.058, neck=0.52, neck_angle=38,
        neck_radius=0.082, head=0.095, snout=0.19, snout_radius=0.055, droop=18,
        ear=0.07, ear_width=0.03, ear_angle=35, tail=0.34, tail_radius=0.022,
        tail_angle=-72, tags=("long neck", "swan neck", "humps", "tuft"),
    ),
    _quadruped(
        "bear", (0.34, 0.20, 0.11), under=(0.36, 0.22, 0.13), accent=(0.62, 0.46, 0.30),
        length=0.56, chest=0.235, hip=0.23, waist=0.225, slim=0.92, leg=0.4,
        leg_radius=0.088, foot=0.075, bend=0.45, neck=0.24, neck_angle=58,
        neck_radius=0.16, head=0.17, snout=0.12, snout_radius=0.062, droop=16,
        ear=0.085, ear_width=0.06, ear_angle=38, tail=0.06, tail_radius=0.045,
        tail_angle=-30, eye=0.12, tags=("muzzle", "paws"),
    ),
    _quadruped(
        "tiger", (0.90, 0.48, 0.10), under=WHITE, pattern="striped", length=0.72,
        chest=0.185, hip=0.17, waist=0.165, leg=0.44, leg_radius=0.066, foot=0.058,
        bend=0.8, neck=0.18, neck_angle=30, neck_radius=0.125, head=0.16, snout=0.11,
        snout_radius=0.085, droop=14, ear=0.075, ear_width=0.058, ear_angle=35,
        tail=0.66, tail_radius=0.036, tail_angle=-35, tags=("paws", "curl up", "bib"),
    ),
    _quadruped(
        "lion", (0.80, 0.58, 0.26), under=(0.86, 0.70, 0.44), dark=(0.33, 0.17, 0.07),
        length=0.70, chest=0.185, hip=0.165, waist=0.16, leg=0.46, leg_radius=0.066,
        foot=0.058, bend=0.8, neck=0.19, neck_angle=36, neck_radius=0.12, head=0.15,
        snout=0.12, snout_radius=0.08, droop=14, ear=0.06, ear_width=0.05, ear_angle=40,
        tail=0.62, tail_radius=0.026, tail_angle=-35,
        tags=("ruff", "paws", "tuft", "curl up"),
    ),
    _quadruped(
        "rabbit", (0.66, 0.58, 0.50), under=WHITE, accent=(0.85, 0.55, 0.55),
        length=0.36, chest=0.135, hip=0.185, waist=0.17, slim=0.9, leg=0.22,
        leg_radius=0.05, foot=0.04, bend=1.5, neck=0.11, neck_angle=48,
        neck_radius=0.09, head=0.13, snout=0.075, snout_radius=0.065, droop=20,
        ear=0.34, ear_width=0.06, ear_angle=12, tail=0.05, tail_radius=0.065,
        tail_angle=25, eye=0.22, tags=("long feet", "puff", "pink ears"),
    ),
    _quadruped(
        "mouse", (0.55, 0.51, 0.48), under=(0.86, 0.80, 0.76),
        accent=(0.90, 0.60, 0.60), length=0.36, chest=0.14, hip=0.18, waist=0.175,
        slim=0.95, leg=0.17, leg_radius=0.034, foot=0.03, bend=1.0, neck=0.07,
        neck_angle=20, neck_radius=0.10, head=0.135, snout=0.14, snout_radius=0.03,
        droop=16, ear=0.15, ear_width=0.12, ear_angle=38, tail=0.62, tail_radius=0.022,
        tail_angle=-8, eye=0.22, tags=("pink tail", "round ears", "pink ears"),
    ),
    _quadruped(
        "squirrel", (0.66, 0.30, 0.12), under=WHITE, length=0.34, chest=0.115, hip=0.15,
        waist=0.135, leg=0.20, leg_radius=0.042, foot=0.036, bend=1.3, neck=0.09,
        neck_angle=50, neck_radius=0.085, head=0.115, snout=0.085, snout_radius=0.04,
        droop=18, ear=0.11, ear_width=0.035, ear_angle=18, tail=0.62, tail_radius=0.12,
        tail_angle=70, eye=0.2, tags=("bushy", "s tail", "long feet"),
    ),
    _quadruped(
        "deer", (0.60, 0.38, 0.20), under=CREAM, dark=(0.28, 0.18, 0.10),
        accent=(0.50, 0.36, 0.22), length=0.56, chest=0.165, hip=0.15, waist=0.14,
        leg=0.60, leg_radius=0.046, foot=0.034, neck=0.36, neck_angle=58,
        neck_radius=0.075, head=0.095, snout=0.18, snout_radius=0.042, droop=25,
        ear=0.15, ear_width=0.05, ear_angle=60, tail=0.12, tail_radius=0.04,
        tail_angle=20, tags=("antlers", "hooves", "white tail"),
    ),
    _quadruped(
        "crocodile", (0.30, 0.42, 0.18), under=(0.74, 0.72, 0.48),
        dark=(0.16, 0.24, 0.10), length=0.66, chest=0.13, hip=0.13, waist=0.145,
        slim=1.35, leg=0.2, leg_radius=0.042, foot=0.04, bend=0.5, sprawl=0.8,
        neck=0.12, neck_angle=2, neck_radius=0.11, head=0.10, snout=0.42,
        snout_radius=0.05, droop=5, ear=0.0, tail=0.95, tail_radius=0.10, tail_angle=-8,
        tags=("flat snout", "brow", "ridge", "fangs"),
    ),
    _quadruped(
        "turtle", (0.38, 0.55, 0.25), under=(0.80, 0.74, 0.45),
        dark=(0.24, 0.20, 0.10), accent=(0.42, 0.30, 0.14), length=0.42, chest=0.12,
        hip=0.12, waist=0.13, slim=1.2, leg=0.2, leg_radius=0.058, foot=0.055,
        bend=0.4, sprawl=0.75, neck=0.32, neck_angle=22, neck_radius=0.065, head=0.10,
        snout=0.075, snout_radius=0.055, droop=10, ear=0.0, tail=0.16,
        tail_radius=0.035, tail_angle=-15, eye=0.18, tags=("shell",),
    ),
    _quadruped(
        "dinosaur", (0.38, 0.52, 0.46), under=(0.72, 0.76, 0.62),
        dark=(0.20, 0.32, 0.28), length=0.56, chest=0.22, hip=0.23, waist=0.25,
        leg=0.40, leg_radius=0.085, foot=0.07, bend=0.3, neck=0.80, neck_angle=46,
        neck_radius=0.075, head=0.085, snout=0.11, snout_radius=0.055, droop=18,
        ear=0.0, tail=0.95, tail_radius=0.13, tail_angle=-10,
        tags=("long neck", "swan neck"), eye=0.18,
    ),
    _bird(
        "penguin", (0.11, 0.12, 0.15), under=WHITE, accent=(0.95, 0.60, 0.12),
        length=0.52, chest=0.20, hip=0.215, waist=0.225, slim=1.0, leg=0.10,
        leg_radius=0.045, foot=0.07, neck=0.08, neck_angle=80, neck_radius=0.14,
        head=0.14, snout=0.13, snout_radius=0.02, droop=10, tail=0.13,
        tail_radius=0.05, tail_angle=-40, eye=0.14,
        tags=("upright", "flippers", "bib"),
    ),
    _bird(
        "duck", (0.93, 0.83, 0.22), under=(0.95, 0.88, 0.45),
        accent=(0.95, 0.52, 0.08), length=0.42, chest=0.19, hip=0.13, waist=0.19,
        leg=0.17, leg_radius=0.026, foot=0.07, neck=0.19, neck_angle=72,
        neck_radius=0.085, head=0.13, snout=0.15, snout_radius=0.048, droop=8,
        tail=0.13, tail_radius=0.07, tail_angle=35, eye=0.17,
        tags=("flat beak", "webbed"),
    ),
    _bird(
        "swan", (0.94, 0.94, 0.93), under=WHITE, dark=(0.10, 0.09, 0.09),
        accent=(0.95, 0.48, 0.10), length=0.50, chest=0.20, hip=0.13, waist=0.21,
        leg=0.16, leg_radius=0.028, foot=0.07, neck=0.58, neck_angle=68,
        neck_radius=0.055, head=0.085, snout=0.13, snout_radius=0.026, droop=28,
        tail=0.15, tail_radius=0.08, tail_angle=25, tags=("s neck", "webbed"),
    ),
    _bird(
        "chicken", (0.92, 0.89, 0.82), under=WHITE, dark=(0.30, 0.18, 0.10),
        accent=(0.95, 0.65, 0.12), length=0.34, chest=0.18, hip=0.13, waist=0.18,
        leg=0.22, leg_radius=0.03, foot=0.06, neck=0.18, neck_angle=66,
        neck_radius=0.085, head=0.10, snout=0.085, snout_radius=0.012, droop=14,
        tail=0.26, tail_radius=0.10, tail_angle=58, tags=("comb", "toes", "fan tail"),
    ),
    _bird(
        "ostrich", (0.12, 0.11, 0.11), under=(0.14, 0.13, 0.13),
        dark=(0.86, 0.66, 0.58), accent=(0.85, 0.62, 0.45), length=0.40, chest=0.22,
        hip=0.20, waist=0.235, leg=0.72, leg_radius=0.05, foot=0.065, neck=0.66,
        neck_angle=74, neck_radius=0.04, head=0.08, snout=0.12, snout_radius=0.022,
        droop=10, tail=0.20, tail_radius=0.10, tail_angle=10, eye=0.24,
        tags=("bare neck", "bare legs", "toes", "white tail"),
    ),
    _bird(
        "flamingo", (0.95, 0.52, 0.58), under=(0.96, 0.62, 0.66),
        dark=(0.12, 0.10, 0.10), accent=(0.93, 0.75, 0.72), length=0.32, chest=0.155,
        hip=0.10, waist=0.155, leg=0.80, leg_radius=0.02, foot=0.05, neck=0.66,
        neck_angle=66, neck_radius=0.032, head=0.068, snout=0.13, snout_radius=0.026,
        droop=48, tail=0.14, tail_radius=0.06, tail_angle=-20,
        tags=("s neck", "webbed", "pink legs", "beak tip"),
    ),
    _bird(
        "owl", (0.52, 0.38, 0.24), under=(0.86, 0.76, 0.58),
        dark=(0.28, 0.18, 0.10), accent=(0.90, 0.66, 0.20), pattern="spotted",
        length=0.34, chest=0.20, hip=0.15, waist=0.205, slim=1.0, leg=0.13,
        leg_radius=0.045, foot=0.06, neck=0.07, neck_angle=80, neck_radius=0.17,
        head=0.18, snout=0.06, snout_radius=0.012, droop=55, ear=0.10, ear_width=0.035,
        ear_angle=28, tail=0.19, tail_radius=0.075, tail_angle=-55, eye=0.22,
        tags=("upright", "face disc", "toes"),
    ),
    _bird(
        "parrot", (0.80, 0.09, 0.08), under=(0.82, 0.12, 0.10), dark=(0.10, 0.22, 0.72),
        accent=(0.92, 0.87, 0.76), length=0.36, chest=0.135, hip=0.10, waist=0.14,
        slim=1.0, leg=0.10, leg_radius=0.034, foot=0.05, neck=0.08, neck_angle=78,
        neck_radius=0.105, head=0.125, snout=0.10, snout_radius=0.03, droop=60,
        tail=0.58, tail_radius=0.05, tail_angle=-60, eye=0.15,
        tags=("upright", "toes", "hooked", "dark wings", "dark tail", "cheeks"),
    ),
    _biped(
        "kangaroo", (0.68, 0.44, 0.26), under=CREAM, dark=(0.30, 0.19, 0.12),
        length=0.46, chest=0.12, hip=0.20, waist=0.165, leg=0.44, leg_radius=0.085,
        foot=0.045, neck=0.16, neck_angle=65, neck_radius=0.075, head=0.10, snout=0.15,
        snout_radius=0.042, droop=18, ear=0.19, ear_width=0.05, ear_angle=24, tail=0.82,
        tail_radius=0.085, tail_angle=-32, tags=("reared", "long feet", "arms"),
    ),
    _biped(
        "tyrannosaur", (0.36, 0.44, 0.22), under=(0.76, 0.72, 0.50),
        dark=(0.22, 0.26, 0.12), length=0.46, chest=0.18, hip=0.20, waist=0.19,
        leg=0.54, leg_radius=0.105, foot=0.058, neck=0.24, neck_angle=52,
        neck_radius=0.13, head=0.155, snout=0.27, snout_radius=0.095, droop=8, ear=0.0,
        tail=0.92, tail_radius=0.135, tail_angle=4, eye=0.13,
        tags=("arms", "jaw", "fangs", "toes"),
    ),
    _swimmer(
        "fish", (0.95, 0.50, 0.10), under=(0.97, 0.72, 0.38), dark=(0.95, 0.66, 0.22),
        length=0.95, chest=0.22, hip=0.055, waist=0.225, slim=0.5, head=0.15,
        snout=0.16, snout_radius=0.07, tail=0.30, tail_radius=0.15, eye=0.26,
        tags=("upright tail", "veil"),
    ),
    _swimmer(
        "shark", (0.42, 0.48, 0.55), under=WHITE, dark=(0.36, 0.42, 0.50), length=1.35,
        chest=0.17, hip=0.04, waist=0.165, slim=0.9, head=0.14, snout=0.26,
        snout_radius=0.045, tail=0.34, tail_radius=0.09, eye=0.14,
        tags=("upright tail", "back fin", "long tail lobe"),
    ),
    _swimmer(
        "dolphin", (0.40, 0.50, 0.62), under=(0.88, 0.90, 0.92),
        dark=(0.36, 0.45, 0.57), length=1.15, chest=0.17, hip=0.045, waist=0.165,
        slim=0.95, head=0.14, snout=0.24, snout_radius=0.03, tail=0.24,
        tail_radius=0.10, eye=0.13, tags=("flukes", "back fin", "bottle nose"),
    ),
    _swimmer(
        "whale", (0.16, 0.30, 0.50), under=(0.82, 0.86, 0.90), dark=(0.14, 0.26, 0.44),
        length=1.20, chest=0.30, hip=0.06, waist=0.27, slim=1.05, head=0.27, snout=0.16,
        snout_radius=0.22, tail=0.30, tail_radius=0.12, eye=0.09,
        tags=("flukes", "spout"),
    ),
)  # fmt: skip

SPECIES: dict[str, Species] = {row.name: row for row in _ROWS}

# Kept for measuring: the prior's training pictures never show these.
EVALUATION_SPECIES = ("goat", "hippo", "squirrel", "swan")
TRAINING_SPECIES = tuple(name for name in SPECIES if name not in EVALUATION_SPECIES)
