"""The job prepare: pictures become a clip that can be read, nothing is overwritten."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adreamer_jax.data.clip import read_clip
from adreamer_jax.run.prepare import check_unused, mask_sheet, prepare

RECIPE = Path(__file__).parents[2] / "configs" / "prepare.py"


def recipe(size="default"):
    spec = importlib.util.spec_from_file_location("prepare_recipe", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(size)


@pytest.fixture
def film(tmp_path):
    """Twelve pictures of a warm disc that moves over a cold ground, and their masks."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(120) + 0.5, np.arange(80) + 0.5)
    speckle = 20 * rng.normal(size=(80, 120, 1))
    (tmp_path / "film").mkdir()
    (tmp_path / "given").mkdir()
    for i in range(12):
        mask = np.hypot(x - 40 - 2 * i, y - 40) < 20
        picture = np.where(mask[..., None], [190, 120, 60], [60, 90, 130]) + speckle
        picture = np.clip(picture, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "film" / f"{i}.png")
        Image.fromarray(mask).save(tmp_path / "given" / f"{i}.png")
    return tmp_path / "film"


@pytest.fixture
def config(film):
    config = recipe()
    config.prepare.source = str(film)
    config.data.clip = str(film.parent / "clips" / "disc")
    config.prepare.longest = 60
    config.prepare.prompt = "a disc"
    return config


def test_a_film_becomes_a_clip(config, film, capsys):
    before = {p: p.read_bytes() for p in film.iterdir()}
    prepare(config, film.parent / "run")
    clip = read_clip(config.data.clip)
    assert clip.images.shape == (12, 40, 60, 3)
    assert (clip.name, clip.prompt, clip.fps) == ("disc", "a disc", 24)
    assert clip.cameras == "none" and clip.intrinsics is None
    x, y = np.meshgrid(np.arange(60) + 0.5, np.arange(40) + 0.5)
    for i, mask in enumerate(clip.masks):
        true = np.hypot(x - 20 - i, y - 20) < 10
        assert (mask & true).sum() / (mask | true).sum() > 0.85
    assert (Path(config.data.clip) / "masks.png").is_file()
    assert {p: p.read_bytes() for p in film.iterdir()} == before
    assert not (film.parent / "run").exists()
    assert "--config.data.clip=" in capsys.readouterr().err


@pytest.mark.parametrize("masks", ["given", "given/0.png"])
def test_given_masks_are_taken(config, film, masks):
    config.prepare.masks = str(film.parent / masks)
    config.prepare.intrinsics = (100.0, 110.0, 60.0, 40.0)
    prepare(config, film.parent / "run")
    clip = read_clip(config.data.clip)
    x, y = np.meshgrid(np.arange(60) + 0.5, np.arange(40) + 0.5)
    for i, mask in enumerate(clip.masks):
        true = np.hypot(x - 20 - i, y - 20) < 10
        assert (mask & true).sum() / (mask | true).sum() > 0.85
    np.testing.assert_allclose(clip.intrinsics, [50, 55, 30, 20])


def test_a_box_is_in_pixels_of_the_film(config, film):
    config.prepare.box = (15, 15, 66, 66)
    prepare(config, film.parent / "run")
    assert abs(read_clip(config.data.clip).masks[0].sum() - np.pi * 100) < 40


def test_the_work_folder_is_the_clip_where_no_other_is_named(config, film):
    config.data.clip = ""
    prepare(config, film.parent / "run")
    assert read_clip(film.parent / "run").name == "run"


def test_an_existing_folder_is_never_touched(config, film):
    target = Path(config.data.clip)
    target.mkdir(parents=True)
    (target / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="must not exist yet"):
        prepare(config, film.parent / "run")
    assert [p.name for p in target.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("source", "", "must know its film"),
        ("source", "nowhere.mp4", "does not exist"),
        ("most", 5, "at least 8 frames, got 5"),
        ("box", (1, 2, 3), "left, top, right, bottom"),
        ("intrinsics", (1.0, 2.0, 3.0), "fx, fy, cx, cy"),
        ("intrinsics", (0.0, 2.0, 3.0, 4.0), "fx, fy, cx, cy"),
        ("masks", "nowhere", "one picture of the first frame"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(config, film, key, value, message):
    config.prepare[key] = value
    with pytest.raises(ValueError, match=message):
        prepare(config, film.parent / "run")
    assert not Path(config.data.clip).exists()
    assert not any(film.parent.glob("clips/.*"))


def test_a_film_that_is_not_taken_whole_says_so(config, film, capsys):
    config.prepare.most = 10
    prepare(config, film.parent / "run")
    said = " ".join(capsys.readouterr().err.split())
    assert "goes on after the 0.4 s of which the clip is made (10 frames" in said


def test_what_a_sequence_of_lab4d_does_not_need_is_refused(config, film):
    config.prepare.masks = "masks"
    with pytest.raises(ValueError, match=r"prepare\.masks must be left out"):
        check_unused(config.prepare)


def test_another_recipe_is_refused(tmp_path):
    from ml_collections import ConfigDict

    with pytest.raises(ValueError, match=r"configs/prepare\.py"):
        prepare(ConfigDict({"data": {"clip": ""}}), tmp_path / "run")


def test_the_recipe_has_its_sizes():
    assert recipe("smoke").prepare.longest < recipe().prepare.longest
    with pytest.raises(ValueError, match="got huge"):
        recipe("huge")


def test_the_sheet_shows_the_object_and_pales_the_ground(config, film):
    prepare(config, film.parent / "run")
    clip = read_clip(config.data.clip)
    sheet = mask_sheet(clip)
    first = sheet[4:44, 4:64]
    np.testing.assert_array_equal(first[clip.masks[0]], clip.images[0][clip.masks[0]])
    assert first[~clip.masks[0]].min() >= 180
