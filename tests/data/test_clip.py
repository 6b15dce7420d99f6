"""The border of the house: clips come back as they went out, mistakes are named."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from adreamer_jax.data.clip import read_clip, read_truth, write_clip
from adreamer_jax.types import Clip

COUNT, HEIGHT, WIDTH = 8, 18, 24


def make_clip():
    """A clip of noise with a square object, exact cameras and features."""
    rng = np.random.default_rng(0)
    masks = np.zeros((COUNT, HEIGHT, WIDTH), bool)
    masks[:, 4:12, 6:15] = True
    cameras = np.tile(np.eye(4, dtype=np.float32), (COUNT, 1, 1))
    cameras[:, 2, 3] = 3
    return Clip(
        name="square",
        fps=12.0,
        prompt="a square",
        images=rng.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8),
        masks=masks,
        camera_from_object=cameras,
        intrinsics=np.array([30, 30, 12, 9], np.float32),
        cameras="exact",
        source="made here",
        licence="none",
        features=rng.normal(size=(COUNT, 3, 4, 5)).astype(np.float16),
    )


@pytest.fixture
def folder(tmp_path):
    return write_clip(make_clip(), tmp_path / "clips" / "square")


def edit_header(folder, **changes):
    path = folder / "clip.json"
    header = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in header.items() if v != "missing"}))


def save_cameras(folder, cameras):
    np.savez(folder / "cameras.npz", camera_from_object=cameras)


def test_a_clip_comes_back_as_it_was_written(folder):
    clip, back = make_clip(), read_clip(folder)
    for field in dataclasses.fields(Clip):
        if field.name == "folder":
            continue
        expected, value = getattr(clip, field.name), getattr(back, field.name)
        if isinstance(expected, np.ndarray):
            assert value.dtype == expected.dtype
            np.testing.assert_array_equal(value, expected)
        else:
            assert value == expected
    assert back.folder == folder


def test_a_clip_may_lack_cameras_intrinsics_and_features(tmp_path):
    bare = dataclasses.replace(
        make_clip(),
        camera_from_object=None,
        intrinsics=None,
        features=None,
        cameras="none",
    )
    back = read_clip(write_clip(bare, tmp_path / "bare"))
    assert back.camera_from_object is back.intrinsics is back.features is None


def test_the_word_none_withholds_cameras_that_are_there(folder):
    edit_header(folder, cameras="none")
    assert read_clip(folder).camera_from_object is None


def test_writing_never_replaces_a_folder_and_leaves_nothing_when_it_fails(tmp_path):
    target = write_clip(make_clip(), tmp_path / "one")
    before = sorted(p.name for p in target.rglob("*"))
    with pytest.raises(ValueError, match="must not exist yet"):
        write_clip(make_clip(), target)
    assert sorted(p.name for p in target.rglob("*")) == before
    broken = dataclasses.replace(make_clip(), masks=make_clip().masks[:3])
    with pytest.raises(ValueError):
        write_clip(broken, tmp_path / "two")
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


HEADERS = {
    "missing key": (dict(fps="missing"), "must hold 'fps'"),
    "other version": (dict(version=2), "'version' .* must be 1"),
    "zero fps": (dict(fps=0), "'fps' .* positive"),
    "text as size": (dict(size="18x24"), "'size' .*height, width"),
    "prompt not a text": (dict(prompt=None), "'prompt' .* a text"),
    "unknown cameras": (dict(cameras="good"), "exact or noisy or none"),
    "too few frames": (dict(num_frames=7), "at least 8 frames"),
    "other count": (dict(num_frames=9), "got 8 for 9"),
    "other size": (dict(size=[24, 18]), "00000.png must have the clip's size 24 x 18"),
    "three intrinsics": (dict(intrinsics=[30, 12, 9]), "four numbers"),
    "text intrinsics": (dict(intrinsics=["30", 30, 12, 9]), "four numbers"),
    "infinite focal length": (dict(intrinsics=[np.inf, 30, 12, 9]), "four numbers"),
    "negative focal length": (dict(intrinsics=[30, -30, 12, 9]), "positive"),
}


@pytest.mark.parametrize("changes, message", HEADERS.values(), ids=HEADERS.keys())
def test_wrong_headers_are_named(folder, changes, message):
    edit_header(folder, **changes)
    with pytest.raises(ValueError, match=message):
        read_clip(folder)


def no_json(folder):
    (folder / "clip.json").unlink()


def bad_json(folder):
    (folder / "clip.json").write_text("{version: 1")


def list_json(folder):
    (folder / "clip.json").write_text("[1]")


def no_masks(folder):
    for path in (folder / "masks").iterdir():
        path.unlink()
    (folder / "masks").rmdir()


def one_mask_less(folder):
    (folder / "masks" / "00007.png").unlink()


def gap(folder):
    (folder / "frames" / "00007.png").rename(folder / "frames" / "00008.png")


def empty_mask(folder):
    Image.new("L", (WIDTH, HEIGHT)).save(folder / "masks" / "00003.png")


def faint_mask(folder):
    Image.new("L", (WIDTH, HEIGHT), 1).save(folder / "masks" / "00003.png")


def color_mask(folder):
    Image.new("RGB", (WIDTH, HEIGHT), "white").save(folder / "masks" / "00003.png")


def small_frame(folder):
    Image.new("RGB", (WIDTH, HEIGHT - 1)).save(folder / "frames" / "00005.png")


def gray_frame(folder):
    Image.new("L", (WIDTH, HEIGHT)).save(folder / "frames" / "00005.png")


def truncated_frame(folder):
    path = folder / "frames" / "00002.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_frame(folder):
    (folder / "frames" / "00002.png").write_bytes(b"")


def no_cameras(folder):
    (folder / "cameras.npz").unlink()


def damaged_cameras(folder):
    path = folder / "cameras.npz"
    path.write_bytes(path.read_bytes()[:100])


def other_array(folder):
    np.savez(folder / "cameras.npz", world_from_camera=np.eye(4))


def few_cameras(folder):
    save_cameras(folder, np.tile(np.eye(4), (COUNT - 1, 1, 1)))


def with_camera(change):
    def edit(folder):
        cameras = make_clip().camera_from_object
        change(cameras[4])
        save_cameras(folder, cameras)

    return edit


def put(index, value):
    def change(camera):
        camera[index] = value

    return with_camera(change)


def few_features(folder):
    (folder / "features" / "00001.npy").unlink()


def other_feature(folder):
    np.save(folder / "features" / "00001.npy", np.zeros((3, 5, 5), np.float16))


def wrong_feature(folder):
    np.save(folder / "features" / "00001.npy", np.full((3, 4, 5), np.nan, np.float16))


FOLDERS = {
    "no json": (no_json, "must hold clip.json"),
    "bad json": (bad_json, "must be JSON"),
    "a list": (list_json, "JSON object"),
    "no masks": (no_masks, "must hold the folder masks.*--job=prepare"),
    "one mask less": (one_mask_less, "masks must hold as many .* got 7 for 8"),
    "gap": (gap, "got 00008.png where 00007.png belongs"),
    "empty mask": (empty_mask, "mask of frame 3 must show the object"),
    "faint mask": (faint_mask, "must be 255, got at most 1"),
    "color mask": (color_mask, "mode L, got RGB"),
    "small frame": (small_frame, "00005.png must have the clip's size 18 x 24"),
    "gray frame": (gray_frame, "mode RGB, got L"),
    "truncated frame": (truncated_frame, "00002.png must be a whole PNG"),
    "empty frame": (empty_frame, "00002.png must be a whole PNG"),
    "no cameras": (no_cameras, "cameras are 'exact'"),
    "damaged cameras": (damaged_cameras, "whole numpy file"),
    "other array": (other_array, "must hold an array named 'camera_from_object'"),
    "few cameras": (few_cameras, r"shape \(8, 4, 4\)"),
    "nan camera": (put((0, 3), np.nan), "finite numbers, got .* frame 4"),
    "scaled camera": (put((0, 0), 2.0), "rigid.* frame 4"),
    "mirrored camera": (put((0, 0), -1.0), "rigid.* frame 4"),
    "transposed camera": (put((3, 2), 3.0), "rigid.* frame 4"),
    "camera behind": (put((2, 3), -3.0), r"in front \(z > 0\).* frame 4"),
    "few features": (few_features, "got 7 for 8"),
    "other feature": (other_feature, "one shape, got .* frame 1"),
    "wrong feature": (wrong_feature, "finite floats.* frame 1"),
}


@pytest.mark.parametrize("damage, message", FOLDERS.values(), ids=FOLDERS.keys())
def test_wrong_folders_are_named_in_one_sentence(folder, damage, message):
    damage(folder)
    with pytest.raises(ValueError, match=message) as caught:
        read_clip(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["nowhere", "square/clip.json"])
def test_no_such_folder(folder, path):
    with pytest.raises(ValueError, match="must be an existing folder"):
        read_clip(folder.parent / path)


def test_truth_is_read_apart(folder):
    assert read_truth(folder) is None
    truth = folder / "truth"
    truth.mkdir()
    np.save(truth / "vertices.npy", np.ones((COUNT, 5, 3), np.float32))
    np.save(truth / "faces.npy", np.array([[0, 1, 2]], np.int32))
    points = {"names": ["nose"], "frames": {"10": [[1, 2, 1]], "2": [[3, 4, 0]]}}
    (truth / "keypoints.json").write_text(json.dumps(points))
    found = read_truth(folder)
    assert found is not None and found.keypoints is not None
    assert found.vertices.shape == (COUNT, 5, 3)
    assert found.camera_from_object is None and found.intrinsics is None
    assert found.keypoints.names == ("nose",)
    assert list(found.keypoints.frames) == [2, 10]
    np.testing.assert_array_equal(found.keypoints.frames[2], [[3, 4, 0]])
