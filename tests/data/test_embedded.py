"""The embedded clip: exact truth, realistic noise, a folder like any other."""

import numpy as np
import pytest

from adreamer_jax.data import embedded
from adreamer_jax.data.clip import read_clip, read_truth
from adreamer_jax.data.embedded import embedded_clip, noisy_cameras, write_embedded

SMALL = dict(num_frames=8, size=(64, 64), cycles=1.0)


@pytest.fixture(scope="module")
def fox():
    return embedded_clip(**SMALL)


def test_shapes_and_words(fox):
    clip, truth = fox
    assert clip.images.shape == (8, 64, 64, 3) and clip.images.dtype == np.uint8
    assert clip.masks.dtype == bool and 0.05 < clip.masks.mean() < 0.4
    assert clip.prompt == "a fox walking" and clip.cameras == "noisy"
    np.testing.assert_allclose(clip.intrinsics, [87.919, 87.919, 32, 32], atol=1e-2)
    assert truth.vertices.shape[0] == 8 and truth.vertices.dtype == np.float32
    assert truth.faces.max() == truth.vertices.shape[1] - 1


def test_truth_is_a_closed_outward_surface_under_the_masks(fox):
    clip, truth = fox
    edges = truth.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    once = {tuple(e) for e in edges}
    assert len(once) == len(edges) and all((b, a) in once for a, b in once)
    corners = truth.vertices[:, truth.faces]
    volume = np.einsum(
        "tmi,tmi->t", corners[:, :, 0], np.cross(corners[:, :, 1], corners[:, :, 2])
    )
    assert np.all(volume > 0)
    fx, fy, cx, cy = truth.intrinsics
    xy = truth.vertices[..., :2] / truth.vertices[..., 2:] * [fx, fy] + [cx, cy]
    for mask, places in zip(clip.masks, xy, strict=True):
        column, row = np.floor(places).astype(int).T
        grown = np.pad(mask, 1)
        near = sum(
            grown[1 + a :, 1 + b :][:64, :64] for a in (-1, 0, 1) for b in (-1, 0, 1)
        )
        assert (near[row, column] > 0).mean() > 0.995
        cover = np.zeros_like(mask)
        cover[row, column] = True
        assert (mask & ~cover).sum() < 0.12 * mask.sum()


def test_box_and_cameras_are_those_of_a_quarter_turn(fox):
    _, truth = fox
    pose = truth.camera_from_object
    back = np.einsum(
        "tji,tnj->tni", pose[:, :3, :3], truth.vertices - pose[:, None, :3, 3]
    )
    assert 1.9 < np.ptp(back.reshape(-1, 3), axis=0).max() < 2.06
    assert np.abs(np.diff(back, axis=0)).max() > 0.1  # legs walk
    eye = -np.einsum("tji,tj->ti", pose[:, :3, :3], pose[:, :3, 3])
    azimuth = np.degrees(np.arctan2(eye[:, 0], eye[:, 2]))
    np.testing.assert_allclose(azimuth[[0, -1]], [-135, -45], atol=1e-2)
    np.testing.assert_allclose(np.linalg.norm(eye, axis=-1), 3.2, atol=1e-4)


def test_noise_is_as_large_as_stated():
    exact = np.tile(np.eye(4, dtype=np.float32), (400, 1, 1))
    exact[:, 2, 3] = 3.0
    noisy = noisy_cameras(np.random.default_rng(0), exact)
    turn = noisy[:, :3, :3]
    angle = np.degrees(
        np.arccos(np.clip((np.trace(turn, axis1=1, axis2=2) - 1) / 2, -1, 1))
    )
    assert 7.5 < np.sqrt((angle**2).mean()) < 9.5
    off = np.linalg.norm(noisy[:, :3, 3] - exact[:, :3, 3], axis=-1)
    assert 0.08 < np.sqrt((off**2).mean()) < 0.1
    np.testing.assert_allclose(np.linalg.det(turn), 1.0, atol=1e-5)


def test_same_seed_same_clip_other_seed_another(fox):
    again, _ = embedded_clip(**SMALL)
    other, _ = embedded_clip(seed=1, noise=False, **SMALL)
    assert np.array_equal(fox[0].images, again.images)
    assert not np.array_equal(fox[0].images, other.images)
    assert other.cameras == "exact"


def test_folder_round_trip_and_no_overwriting(fox, tmp_path):
    clip, truth = fox
    folder = write_embedded(clip, tmp_path / "fox", truth)
    read, known = read_clip(folder), read_truth(folder)
    assert np.array_equal(read.images, clip.images)
    assert np.array_equal(read.masks, clip.masks)
    np.testing.assert_allclose(read.camera_from_object, clip.camera_from_object)
    np.testing.assert_allclose(known.vertices, truth.vertices)
    assert np.array_equal(known.faces, truth.faces)
    with pytest.raises(ValueError, match="must not exist"):
        write_embedded(clip, folder, truth)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fox"]


@pytest.mark.parametrize(
    "wish,word",
    [
        (dict(species="unicorn"), "species"),
        (dict(pose="flying"), "pose"),
        (dict(size=(60, 64)), "size"),
        (dict(num_frames=0), "num_frames"),
    ],
)
def test_impossible_wishes_are_refused(wish, word):
    with pytest.raises(ValueError, match=f"{word} must be"):
        embedded_clip(**wish)


def test_block_divides_the_default_size():
    assert 256 % embedded.BLOCK == 0
