"""Optical flow against motion that is exactly known, and its place on disk."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from adreamer_jax.data import flow as flow_file
from adreamer_jax.data.flow import (
    compute_flow,
    confidence,
    flow_at,
    flow_cached,
    look_of,
    look_up,
    misfit,
    read_flow,
    shrink,
)
from adreamer_jax.types import Clip

HEIGHT, WIDTH, COUNT = 64, 96, 9
SPEED = np.array([2.0, -1.0])


def texture(x, y):
    """A smooth pattern without repetition over the picture."""
    rng = np.random.default_rng(3)
    noise = ndimage.gaussian_filter(
        rng.normal(size=(3, 160, 160)), (0, 2, 2), mode="wrap"
    )
    noise = 128 + 50 * noise / noise.std()
    planes = [ndimage.map_coordinates(n, [y, x], order=1, mode="wrap") for n in noise]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def moving_disc():
    """A textured disc that moves before a still, textured ground."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    images, masks = [], []
    for i in range(COUNT):
        dx, dy = SPEED * i
        mask = np.hypot(x - 38 - dx, y - 36 - dy) < 18
        moved = texture(x - dx + 20, y - dy + 20)
        images.append(np.where(mask[..., None], moved, texture(y, x)))
        masks.append(mask)
    return np.stack(images), np.stack(masks)


@pytest.fixture(scope="module")
def disc():
    return moving_disc()


@pytest.fixture(scope="module")
def flow(disc):
    return compute_flow(*disc, (1, 2, 4))


def make_clip(disc, folder=None):
    return Clip("disc", 10.0, "", *disc, None, None, "none", folder=folder)


@pytest.mark.parametrize("gap", [1, -1, 2, -2, 4, -4])
def test_flow_finds_a_known_motion(disc, flow, gap):
    maps, trust = flow[gap]
    assert maps.dtype == trust.dtype == np.float16
    assert maps.shape == (COUNT, HEIGHT, WIDTH, 2)
    sure = trust.astype(float)
    error = np.linalg.norm(maps - gap * SPEED, axis=-1)
    assert (error * sure).sum() / sure.sum() < 0.25
    valid = [i for i in range(COUNT) if 0 <= i + gap < COUNT]
    assert (sure[valid] > 0.8).sum() > 0.8 * disc[1][valid].sum()


def test_flow_is_sure_of_nothing_off_the_object_and_off_the_clip(disc, flow):
    for gap, (maps, trust) in flow.items():
        assert not trust[~disc[1]].any()
        assert ((trust >= 0) & (trust <= 1)).all() and np.isfinite(maps).all()
        missing = [i for i in range(COUNT) if not 0 <= i + gap < COUNT]
        assert len(missing) == abs(gap)
        assert not trust[missing].any() and not maps[missing].any()


def test_a_coarser_size_gives_the_same_motion_in_its_own_pixels(disc):
    maps, trust = compute_flow(*disc, (2,), size=(HEIGHT // 2, WIDTH // 2))[2]
    sure = trust.astype(float)
    error = np.linalg.norm(maps - SPEED, axis=-1)  # 2 frames, half the pixels
    assert maps.shape[1:3] == (32, 48)
    assert (error * sure).sum() / sure.sum() < 0.15


def swinging_leg(count=5, size=128, turn=0.22):
    """A trunk and a leg of one gray that swings, and its true motion a frame."""
    y, x = np.mgrid[:size, :size].astype(float)
    images, masks, motions = [], [], []
    for i in range(count):
        angle = -0.45 + turn * i
        s, c = np.sin(angle), np.cos(angle)
        u, v = x - 64, y - 40
        along, across = u * s + v * c, np.abs(u * c - v * s)
        leg = (along > 0) & (along < 70) & (across < 4)
        trunk = (np.abs(u) < 40) & (np.abs(y - 30) < 14)
        mask = leg | trunk
        images.append(np.where(mask[..., None], np.uint8([100, 90, 80]), 200))
        masks.append(mask)
        c, s = np.cos(turn), np.sin(turn)
        motion = np.stack([c * u + s * v - u, -s * u + c * v - v], -1)
        motions.append((motion, leg & ~trunk & (along > 20)))
    return np.stack(images).astype(np.uint8), np.stack(masks), motions


def test_a_swinging_leg_of_one_color_is_followed():
    images, masks, motions = swinging_leg()
    maps, trust = compute_flow(images, masks, (1,))[1]
    plain = flow_at(
        [look_of(*pair).gray for pair in zip(images, masks, strict=True)], 1
    )
    right = plain_right = total = 0
    for i in range(len(images) - 1):
        motion, leg = motions[i]
        near = np.maximum(2.0, np.linalg.norm(motion, axis=-1) / 3)
        error = np.linalg.norm(maps[i] - motion, axis=-1)
        right += ((error < near) & (trust[i] > 0) & leg).sum()
        error = np.linalg.norm(plain[i] - motion, axis=-1)
        plain_right += ((error < near) & leg).sum()
        total += leg.sum()
    assert right > 0.6 * total
    assert right > 1.5 * plain_right


def test_every_pixel_takes_the_flow_that_fits(disc):
    images, masks = disc
    here, target = (look_of(images[i], masks[i]) for i in (0, 1))
    moved = np.tile(np.float32(SPEED), (HEIGHT, WIDTH, 1))
    still = np.zeros_like(moved)
    good = misfit(here, target, moved, -moved)
    bad = misfit(here, target, still, still)
    inside = ndimage.binary_erosion(masks[0], iterations=3)
    assert (good < bad)[inside].mean() > 0.95
    assert misfit(here, target, moved, moved)[inside].min() > good[inside].max()


def test_shrinking_ignores_what_is_not_trusted():
    flow = np.full((4, 4, 2), 6.0, np.float32)
    sure = np.zeros((4, 4), np.float32)
    flow[0, 0], sure[0, 0] = 2.0, 0.5
    mask = np.zeros((4, 4), bool)
    mask[0, :2] = True
    maps, trust = shrink(flow, sure, mask, (2, 2))
    np.testing.assert_allclose(maps[0, 0], 1.0)
    np.testing.assert_allclose(trust, [[0.25, 0], [0, 0]])


def test_confidence_falls_with_the_way_there_and_back():
    ones = np.ones((256, 256), bool)
    there = np.zeros((256, 256, 2), np.float32)
    for error, expected in ((0.0, 1.0), (2.56, np.exp(-0.5)), (20.0, 0.0)):
        back = there + np.float32([error, 0])
        sure = confidence(there, back, ones, ones)
        np.testing.assert_allclose(sure[:, 50], expected, rtol=1e-5)


def test_confidence_is_zero_where_the_target_is_not_the_object():
    ones = np.ones((8, 8), bool)
    target = ones.copy()
    target[:, 5:] = False
    there = np.zeros((8, 8, 2), np.float32)
    there[..., 0] = 2.0
    sure = confidence(there, -there, ones, target)
    np.testing.assert_array_equal(sure[0] > 0, np.arange(8) + 2 < 5)


def test_look_up_is_linear_interpolation_by_pixel_index():
    values = np.arange(20, dtype=np.float32).reshape(4, 5)
    flow = np.tile(np.float32([1.5, 1.0]), (4, 5, 1))
    assert look_up(values, flow)[0, 0] == 6.5  # row 1, between columns 1 and 2
    assert look_up(values, flow)[3, 4] == 0


def test_gaps_must_be_positive(disc):
    with pytest.raises(ValueError, match="at least 1 frame"):
        compute_flow(*disc, (0, 1))


def test_the_cache_is_used_and_damage_repaired(disc, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        flow_file,
        "compute_flow",
        lambda *args, **kw: calls.append(1) or compute_flow(*args, **kw),
    )
    clip = make_clip(disc)
    first = flow_cached(clip, tmp_path / "cache", gaps=(1,))
    again = flow_cached(clip, tmp_path / "cache", gaps=(1,))
    assert len(calls) == 1
    (path,) = (tmp_path / "cache").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    mended = flow_cached(clip, tmp_path / "cache", gaps=(1,))
    assert len(calls) == 2
    for other in (again, mended):
        for gap in (1, -1):
            np.testing.assert_array_equal(first[gap][0], other[gap][0])
            np.testing.assert_array_equal(first[gap][1], other[gap][1])
    changed = dataclasses.replace(clip, masks=clip.masks & (np.arange(WIDTH) < 40))
    flow_cached(changed, tmp_path / "cache", gaps=(1,))
    flow_cached(clip, tmp_path / "cache", gaps=(1,), size=(32, 48))
    assert len(calls) == 4


def test_flow_that_a_clip_brings_is_taken_and_its_folder_left_alone(disc, tmp_path):
    folder = tmp_path / "clip"
    (folder / "flow").mkdir(parents=True)
    clip = make_clip(disc, folder)
    for i in range(COUNT):
        for word, value, there in (("forward", 3, i + 1 < COUNT), ("backward", -3, i)):
            if there:
                np.savez(
                    folder / "flow" / f"{word}_{i:05d}.npz",
                    flow=np.full((HEIGHT, WIDTH, 2), value, np.float16),
                    confidence=np.full((HEIGHT, WIDTH), 0.5, np.float16),
                )
    before = sorted(folder.rglob("*"))
    flow = flow_cached(clip, tmp_path / "cache", gaps=(1, 2), size=(32, 48))
    assert sorted(folder.rglob("*")) == before
    assert set(flow) == {1, -1, 2, -2}
    sure = flow[1][1][0] > 0.45
    assert sure.any() and (flow[1][0][0][sure] == 1.5).all()
    assert (flow[-1][0][1][flow[-1][1][1] > 0.45] == -1.5).all()
    assert not flow[1][1][-1].any() and not flow[-1][1][0].any()
    path = folder / "flow" / "forward_00002.npz"
    np.savez(path, flow=np.zeros((3, 3, 2)), confidence=np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"forward_00002\.npz must have the size"):
        read_flow(clip)
    path.unlink()
    with pytest.raises(ValueError, match=r"forward_00002\.npz must be a whole"):
        read_flow(clip)


def test_a_clip_without_flow_brings_none(disc, tmp_path):
    assert read_flow(make_clip(disc)) == {}
    assert read_flow(make_clip(disc, tmp_path)) == {}
