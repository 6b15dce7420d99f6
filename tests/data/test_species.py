"""The table is large, and its evaluation rows stay out of training."""

from adreamer_jax.data.species import (
    COLORS,
    EVALUATION_SPECIES,
    SPECIES,
    TRAINING_SPECIES,
)


def test_there_are_thirty_species_and_four_plans():
    assert len(TRAINING_SPECIES) >= 30
    plans = [row.plan for row in SPECIES.values()]
    assert set(plans) == {"quadruped", "bird", "biped", "swimmer"}
    for tag in ("trunk", "long neck", "flukes", "shell", "antlers"):
        assert any(tag in row.tags for row in SPECIES.values())


def test_evaluation_species_are_never_trained_on():
    assert not set(EVALUATION_SPECIES) & set(TRAINING_SPECIES)
    assert set(EVALUATION_SPECIES) | set(TRAINING_SPECIES) == set(SPECIES)


def test_colors_can_be_told_apart():
    colors = list(COLORS.values())
    apart = [
        sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) ** 0.5
        for i, x in enumerate(colors)
        for y in colors[:i]
    ]
    assert min(apart) > 0.2
