"""The research door: its names are there, documented, and opening it is cheap."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import adreamer_jax

HEAVY = (
    "torch",
    "cv2",
    "av",
    "orbax",
    "diffusers",
    "transformers",
    "skimage",
    "trimesh",
)
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", adreamer_jax.__all__)
def test_every_name_is_there_and_documented(name):
    thing = getattr(adreamer_jax, name)
    assert inspect.getdoc(thing)


def test_the_names_are_in_order_and_few():
    assert list(adreamer_jax.__all__) == sorted(set(adreamer_jax.__all__))
    assert 30 <= len(adreamer_jax.__all__) <= 50
    assert dir(adreamer_jax) == adreamer_jax.__all__


def test_rooms_are_not_hidden_behind_functions_of_their_name():
    import adreamer_jax.render.volume as volume

    assert inspect.ismodule(adreamer_jax.render)
    assert volume.render is adreamer_jax.render_rays


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = adreamer_jax.nothing


def test_opening_the_door_loads_nothing_heavy_and_makes_no_array():
    code = (
        "import sys, adreamer_jax\n"
        f"print([m for m in {HEAVY} if m in sys.modules])\n"
        "from jax._src import xla_bridge\n"
        "print(xla_bridge._backends)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split("\n")[:2] == ["[]", "{}"], run.stdout
