"""Necks, tails, legs, arms, wings and fins.

Every function adds to the parts of a body; ``s`` are the numbers of the species.
"""

from __future__ import annotations

import numpy as np

from adreamer_jax.data.anatomy_parts import DOWN, Parts, X, Y, Z, across, side_of, slant
from adreamer_jax.data.species import Species


def add_neck(s: Species, p: Parts, root, *, paint="coat", parent="chest"):
    """Neck of one bone, or two that curve; returns the joint of the head."""
    bend = 0.0
    bend = 24.0 if "swan neck" in s.tags else bend
    bend = 46.0 if "s neck" in s.tags else bend
    middle = root + 0.5 * s.neck * slant(s.neck_angle - bend)
    end = middle + 0.5 * s.neck * slant(s.neck_angle + bend)
    thick = s.neck_radius * (1.25 if s.neck > 0.3 else 1.12)
    p.bone("neck", parent, root)
    p.bone("neck2", "neck", middle)
    half = 0.5 * (thick + s.neck_radius)
    base = root - 0.25 * thick * slant(s.neck_angle)
    long = {"long neck", "s neck", "bare neck", "mane"} & set(s.tags)
    belly = DOWN if s.plan in ("quadruped", "biped") else Z
    if long or s.neck > 0.35:
        thick = max(1.6 * s.neck_radius, thick) if "long neck" in s.tags else thick
        p.add("neck", base, middle, thick, half, paint, belly=0.5 * belly)
        p.add("neck2", middle, end, half, 0.92 * s.neck_radius, paint)
    else:
        p.add("neck", base, end, thick, s.neck_radius, paint, belly=0.8 * belly)
    if "mane" in s.tags:
        up = 0.9 * s.neck_radius * slant(s.neck_angle + 90.0)
        p.add("neck", root + 0.9 * up, middle + up, 0.055, 0.055, "dark", thin=0.55)
        p.add("neck2", middle + up, end + 1.3 * up + 0.02 * Z, 0.055, 0.045, "dark",
              thin=0.55)  # fmt: skip
    if "dark face" in s.tags:
        p.ball(
            "neck2", end - 0.3 * s.head * Z + 0.55 * s.head * Y, 1.05 * s.head, "coat"
        )
    return end


def add_tail(s: Species, p: Parts, root, *, parent: str = "body", paint: str = "coat"):
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
        points.append(points[-1] + length * slant(s.tail_angle + turn, back=True))
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
        p.add("tail3", points[3] - 0.1 * length * Y, points[3] + 0.7 * length * slant(
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


def _stance(s: Species, leg: str, radius: float):
    """Where a leg starts and which way it goes: down, or out for sprawlers."""
    side = side_of(leg)
    wide = s.slim * radius
    out = side * X * (0.62 * wide if not s.sprawl else 0.8 * wide)
    down = DOWN if not s.sprawl else DOWN + 1.1 * s.sprawl * side * X
    return out, down


def add_front_leg(s: Species, p: Parts, leg: str, chest, hip) -> None:
    """A front leg of three bones; its elbow bends back, its wrist forward."""
    out, down = _stance(s, leg, s.chest)
    top = chest + out - 0.20 * s.chest * Y - 0.05 * Z
    drop = top[1]
    elbow = top + 0.42 * drop * down - 0.055 * s.bend * drop * 2 * Z
    wrist = elbow + (0.50 * drop) * DOWN + 0.06 * s.bend * drop * 2 * Z
    wrist[1] = s.foot + 0.02 * drop
    _limb(s, p, leg, "chest", (top, elbow, wrist), (1.45, 0.85, 0.62))
    _foot(s, p, leg, wrist)


def add_hind_leg(s: Species, p: Parts, leg: str, chest, hip) -> None:
    """A hind leg of three bones whose hock bends back."""
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


def _limb(s: Species, p: Parts, leg: str, parent: str, joints, thick):
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


def _foot(s: Species, p: Parts, leg: str, ankle, *, bone: str | None = None) -> None:
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


def add_wings(s: Species, p: Parts, hip, chest, way) -> None:
    """Folded wings on two bones each; `gait` opens them about the shoulder."""
    paint = "dark" if {"dark wings"} & set(s.tags) else "coat"
    for side, name in ((1.0, "wing left"), (-1.0, "wing right")):
        wide = s.slim * s.waist
        root = chest + side * 0.80 * s.slim * s.chest * X + 0.05 * s.chest * Y
        if "flippers" in s.tags:
            tip = root + side * 0.20 * X - 0.34 * Y - 0.02 * Z
            p.bone(name, "chest", root)
            p.bone(f"{name} tip", name, 0.5 * (root + tip))
            p.add(name, root, tip, 0.060, 0.035, "coat", flat=across(tip - root, X),
                  thin=0.45)  # fmt: skip
            continue
        elbow = hip + 0.62 * (chest - hip) + side * 1.0 * wide * X + 0.10 * wide * Y
        tip = hip + side * 0.62 * wide * X + 0.15 * wide * Y - 0.45 * s.hip * way
        p.bone(name, "chest", root)
        p.bone(f"{name} tip", name, elbow)
        size = 0.52 * s.waist
        flat = across(chest - hip, X)
        p.add(name, root, elbow, 0.75 * size, size, paint, flat=flat, thin=0.32)
        p.add(f"{name} tip", elbow, tip, size, 0.35 * size, paint, flat=flat, thin=0.32)


def add_bird_tail(s: Species, p: Parts, root) -> None:
    """The tail feathers: an upright fan, or a flat tail."""
    paint = "dark" if {"fan tail", "dark tail"} & set(s.tags) else "coat"
    paint = "white" if "white tail" in s.tags else paint
    tip = root + s.tail * slant(s.tail_angle, back=True)
    p.bone("tail1", "body", root)
    flat, thin = (
        (X, 0.35)
        if "fan tail" in s.tags
        else (slant(s.tail_angle + 90, back=True), 0.4)
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


def add_bird_leg(s: Species, p: Parts, leg: str, hip) -> None:
    """Thigh, shank whose joint points back, and a spread foot."""
    side = side_of(leg)
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


def add_strong_leg(s: Species, p: Parts, leg: str, hip) -> None:
    """A hind leg of one that leaps or stands on two: a long foot or three toes."""
    side = side_of(leg)
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


def add_arm(s: Species, p: Parts, leg: str, chest) -> None:
    """A short arm of two bones, held before the chest."""
    side = side_of(leg)
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


def add_fins(s: Species, p: Parts, spine) -> None:
    """A swimmer's flippers, its tail fin or flukes, and what stands on its back."""
    end, low, wide = spine[4], 0.5 * s.chest, s.slim * s.chest
    paint = "dark"
    for side, name in ((1.0, "fin left"), (-1.0, "fin right")):
        root = spine[1] - low * Y + 0.65 * side * wide * X - 0.05 * Z
        reach = 0.9 * s.chest + 0.10
        tip = root + reach * np.array([side * 0.85, -0.42, -0.75])
        p.bone(name, "chest", root)
        flat = across(tip - root, Y)
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
