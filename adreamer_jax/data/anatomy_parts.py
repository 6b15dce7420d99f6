"""Bones and painted capsules, and how a body is put together of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from adreamer_jax.types import Float, Int

X, Y, Z = np.eye(3)
DOWN = -Y


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
class Parts:
    """A list of bones and capsules being put together."""

    bones: dict = dataclasses.field(default_factory=dict)
    rows: list = dataclasses.field(default_factory=list)

    def bone(self, name: str, parent: str | None, head) -> None:
        """A bone that turns about its head; parents are added first."""
        self.bones[name] = (parent, head)

    def add(
        self, bone, start, end, r0, r1, paint="coat", *, flat=X, thin=1.0, belly=None
    ) -> None:
        """A capsule on a bone, from ``start`` to ``end``.

        Along ``flat`` it is ``thin`` times as thick as across; on the side of ``belly``
        it shows the color of the belly.
        """
        belly = np.zeros(3) if belly is None else belly
        self.rows.append((bone, start, end, r0, r1, paint, flat, thin, belly))

    def ball(self, bone, center, radius, paint, *, flat=X, thin=1.0) -> None:
        """A capsule without length."""
        self.add(bone, center, center, radius, radius, paint, flat=flat, thin=thin)

    def done(self, *, grounded: bool) -> Anatomy:
        """The body, its bones and capsules in the order in which they came."""
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


def slant(angle_deg: float, *, back: bool = False) -> Float[np.ndarray, "3"]:
    """Unit vector in the plane x = 0, an angle above the horizontal."""
    angle = np.radians(angle_deg)
    return np.sin(angle) * Y + (-1 if back else 1) * np.cos(angle) * Z


def side_of(leg: str) -> float:
    """1 for a left leg, -1 for a right one: the animal's left is at +x."""
    return 1.0 if "left" in leg else -1.0


def across(way, near) -> Float[np.ndarray, "3"]:
    """The part of ``near`` at right angles to ``way``, unit."""
    way = way / np.linalg.norm(way)
    rest = near - way * (near @ way)
    return rest / np.linalg.norm(rest)
