"""Videos and pictures of a model come out whole and show what they say."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from adreamer_jax.run import render as rd
from adreamer_jax.run.mesh_picture import carried, turned
from adreamer_jax.run.video import read_video
from adreamer_jax.types import Picture
from tests.run.capsule import make_asset, make_clip, make_system


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    asset, work = make_asset(), tmp_path_factory.mktemp("work")
    clip = make_clip(asset)
    rd.render(make_system(asset), None, None, clip, work)
    return asset, clip, work


def test_all_products_are_there(rendered):
    _, _, work = rendered
    videos = {p.name for p in (work / "videos").iterdir()}
    assert videos == {"reconstruction.mp4", "turntable.mp4", "reanimated.mp4"}
    pictures = {p.stem for p in (work / "pictures").iterdir()}
    assert pictures == {
        "input_vs_render",
        "normals",
        "novel_views",
        "bones",
        "skeleton",
        "skinning",
    }


def test_reconstruction_has_the_input_at_the_left_and_the_render_beside_it(rendered):
    asset, clip, work = rendered
    video = read_video(work / "videos/reconstruction.mp4")
    scale = round(256 / asset.size[0])
    width = asset.size[1] * scale
    assert len(video) == len(clip.images)
    left, middle = video[2][:, :width], video[2][:, width + 4 : 2 * width + 4]
    big = rd.resized(clip.images[2], (asset.size[0] * scale, width))
    assert np.abs(left[: big.shape[0]].astype(int) - big).mean() < 6
    assert np.abs(left.astype(int) - middle).mean() < 6  # the fake model is perfect


def test_turntable_turns_and_reanimation_moves(rendered):
    _, _, work = rendered
    turn = read_video(work / "videos/turntable.mp4").astype(int)
    assert len(turn) == 72 and np.abs(turn[0] - turn[18]).mean() > 5
    motion = read_video(work / "videos/reanimated.mp4").astype(int)
    assert len(motion) == 5 and np.abs(motion[0] - motion[2]).mean() > 1
    border = np.concatenate([motion[:, :2].ravel(), motion[:, -2:].ravel()])
    assert border.min() > 245  # the whole animal is in the picture at all times


def test_sheets_are_readable_pictures(rendered):
    asset, _, work = rendered
    page = np.asarray(Image.open(work / "pictures/input_vs_render.png"))
    scale = round(256 / asset.size[0])
    assert page.shape[0] >= 2 * asset.size[0] * scale
    assert page.shape[1] >= 5 * asset.size[1] * scale


def test_a_wider_lens_shows_a_body_that_is_larger_than_the_picture():
    asset = make_asset()
    seen = lambda asset: max(  # of half of the picture, how far the body reaches
        np.quantile(np.abs(flat[:, :2] / flat[:, 2:]) * f[:2] / f[2:], 0.995)
        for flat, f in zip(
            (carried(c, v) for c, v in zip(
                asset.camera_from_object, asset.posed_vertices, strict=True)),
            asset.intrinsics, strict=True,
        )
    )  # fmt: skip
    small = dataclasses.replace(asset, posed_vertices=0.3 * asset.posed_vertices)
    assert seen(small) < 0.9 and rd.zoom_to_body(small) == 1.0  # left as it is
    grown = dataclasses.replace(asset, posed_vertices=2.5 * asset.posed_vertices)
    zoom = rd.zoom_to_body(grown)
    assert seen(grown) > 1.0 and zoom < 1.0
    wide = np.array(grown.intrinsics)
    wide[:, :2] *= zoom
    assert seen(dataclasses.replace(grown, intrinsics=wide)) < 0.95


def test_typical_camera_is_in_the_middle_of_an_arc():
    base = make_asset().camera_from_object[0]
    arc = [turned(base, angle, np.zeros(3)) for angle in (0, 0.2, 0.4, 0.6, 2.0)]
    assert np.allclose(rd._typical_camera(np.stack(arc)), arc[2])


def test_normals_facing_the_viewer_are_blue_and_empty_is_white():
    mask = np.array([[1.0, 0.0]])
    normal = np.array([[[0, 0, -1.0], [0, 0, 0]]])
    picture = Picture(color=0 * normal, mask=mask, depth=mask, normal=normal)
    assert rd.normal_colors(picture).tolist() == [[[128, 128, 255], [255, 255, 255]]]
    assert rd.on_white(picture).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_sheet_places_pictures_in_rows_and_columns():
    tile = lambda value: np.full((20, 30, 3), value, np.uint8)
    page = rd.sheet([[tile(1), tile(2)], [tile(3), tile(4)]], ("a", "bb"), ("x", "y"))
    for value in (1, 2, 3, 4):
        assert (page == value).all(-1).sum() == 600


def test_renders_are_no_larger_than_asked_and_show_the_same():
    asset = make_asset()
    stage = rd._Stage(make_system(asset), None, None, None, asset, None)
    small, whole = stage.view(1, side=30), stage.view(1, side=500)
    assert small.mask.shape == (25, 30) and whole.mask.shape == asset.size
    grown = rd.resized(rd.on_white(small), asset.size).astype(int)
    assert np.abs(grown - rd.on_white(whole)).mean() < 12
