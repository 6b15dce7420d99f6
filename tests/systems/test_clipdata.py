"""A clip as constant arrays: pixels are drawn where asked, spaces fit together."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.data.cameras import constant_camera, default_intrinsics
from adreamer_jax.systems.animatable import clipdata
from tests.systems.tiny import FRAMES, SIZE, tiny_clip, tiny_recipe


@pytest.mark.parametrize(
    "size, longest, expected",
    [((64, 32), 16, (16, 8)), ((20, 40), 99, (20, 40)), ((3, 300), 10, (1, 10))],
)
def test_pictures_shrink_to_the_longest_side_and_never_grow(size, longest, expected):
    assert clipdata.training_size(size, longest) == expected


def test_colors_at_the_edge_have_no_ground_in_them():
    """A dark animal before a bright ground, at half its size."""
    images = np.full((8, 8, 8, 3), 250, np.uint8)
    masks = np.zeros((8, 8, 8), bool)
    masks[:, 1:7, 1:7] = True
    images[masks] = 20
    clip = dataclasses.replace(tiny_clip(), images=images, masks=masks)
    config = tiny_recipe(**{"data.resolution": 4, "loss.flow": 0.0})
    frozen = clipdata.frozen_of(config, clip, None, None)
    cover = np.asarray(frozen["masks"], float) / 255
    assert set(np.unique(cover.round(2))) == {0.25, 0.5, 1.0}
    np.testing.assert_allclose(
        frozen["images"], 20.0 * np.repeat(cover[..., None], 3, -1), atol=1.0
    )


def test_a_clip_from_straight_above_has_no_mirror_plane():
    eye = np.tile(np.eye(4, dtype=np.float32), (FRAMES, 1, 1))
    eye[:, :3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]  # looks down, y up
    eye[:, 2, 3] = 3.0
    clip = dataclasses.replace(
        tiny_clip(), camera_from_object=eye, cameras="exact", intrinsics=None
    )
    config = tiny_recipe(**{"data.cameras": "given", "scene.field.symmetric": True})
    with pytest.raises(ValueError, match="filmed from straight above or below"):
        clipdata.start_of(config, clip)
    config.scene.field.symmetric = False
    start, _ = clipdata.start_of(config, clip)
    np.testing.assert_array_equal(start.side, [1.0, 0.0, 0.0])


def test_the_law_is_a_law_even_for_a_frame_without_the_animal():
    masks = tiny_clip().masks.astype(np.float32)
    masks[2] = 0.0
    law = clipdata.draw_law(masks, background=0.3, edge=0.2, thin=0.2)
    assert np.all(np.isfinite(law))
    assert np.all(np.diff(law, axis=1) >= 0)
    np.testing.assert_allclose(law[:, -1], 1.0, atol=1e-5)


def test_shares_of_the_law_are_as_asked():
    mask = np.zeros((40, 40), np.float32)
    mask[10:30, 10:30] = 1.0
    law = clipdata.draw_law(mask[None], background=0.0, edge=0.0, thin=0.0)[0]
    density = np.diff(law, prepend=0).reshape(40, 40)
    np.testing.assert_allclose(density[mask > 0], 1 / 400, rtol=1e-2)
    assert np.abs(density[mask == 0]).max() < 1e-6
    edged = clipdata.draw_law(mask[None], background=0.0, edge=1.0, thin=0.0)[0]
    density = np.diff(edged, prepend=0).reshape(40, 40)
    assert density[20, 20] < 1e-6 < density[20, 29]


def test_a_batch_is_what_the_clip_says(tiny):
    batch = tiny.sample(tiny.frozen, jax.random.key(1), jnp.zeros((), jnp.int32))
    frames, pixels = np.asarray(batch.frames), np.asarray(batch.pixels)
    assert frames.shape == (4,) and pixels.shape == (4, 16, 2)
    np.testing.assert_allclose(pixels % 1.0, 0.5)
    x, y = (pixels - 0.5).astype(int).transpose(2, 0, 1)
    clip = tiny.clip
    np.testing.assert_allclose(
        batch.color,
        (clip.images * clip.masks[..., None])[frames[:, None], y, x] / 255,
        atol=1e-6,
    )
    np.testing.assert_array_equal(batch.mask, clip.masks[frames[:, None], y, x])
    # one frame out of each quarter of the clip, partners at the flow's gaps
    assert np.array_equal(frames // (FRAMES // 4), np.arange(4))
    gaps = set(np.asarray(batch.partners) - frames)
    assert gaps <= {-2, -1, 1, 2}


def test_flow_that_is_trusted_leads_from_mask_to_mask(tiny):
    """The ellipse walks to the right: later partners lie to the right."""
    ahead = []
    for seed in range(6):
        batch = tiny.sample(tiny.frozen, jax.random.key(seed), jnp.zeros((), jnp.int32))
        gap = np.asarray(batch.partners - batch.frames)[:, None]
        sure = np.asarray(batch.confidence) > 0.5
        ahead.append((np.asarray(batch.flow)[..., 0] / gap)[sure])
    ahead = np.concatenate(ahead)
    assert len(ahead) > 20 and 0.1 < np.median(ahead) < 1.2


def test_field_space_holds_the_object_and_the_views_stay_the_same():
    clip = tiny_clip()
    pose = np.tile(np.eye(4, dtype=np.float32), (FRAMES, 1, 1))
    pose[:, :3, 3] = [0.2, -0.1, 5.0]
    clip = dataclasses.replace(
        clip,
        camera_from_object=pose,
        intrinsics=np.array([40.0, 40.0, 16.0, 16.0], np.float32),
        cameras="exact",
    )
    config = tiny_recipe(**{"data.cameras": "auto"})
    start, space = clipdata.start_of(config, clip)
    assert start.radii.max() == pytest.approx(config.data.fill, rel=1e-5)
    assert np.linalg.norm(start.side) == pytest.approx(1.0) and start.side[1] == 0
    point = np.array([0.3, -0.2, 0.1])  # of field space, seen by both cameras
    there = space.origin + space.scale * point
    by_field = start.camera_from_object[4] @ np.append(point, 1)
    by_object = pose[4] @ np.append(there, 1)
    np.testing.assert_allclose(
        by_field[:3] * space.scale, by_object[:3], rtol=1e-4, atol=1e-4
    )


def test_a_clip_of_two_frames_has_partners(builder):
    short = builder(tiny_clip(frames=2))
    batch = short.sample(short.frozen, jax.random.key(0), jnp.zeros((), jnp.int32))
    frames, partners = np.asarray(batch.frames), np.asarray(batch.partners)
    assert set(frames) <= {0, 1} and np.all(np.abs(partners - frames) == 1)
    assert SIZE == short.frozen["masks"].shape[1]


def test_unknown_cameras_are_not_held_to_a_guess():
    config, clip = tiny_recipe(), tiny_clip()
    assert config.loss.camera_prior > 0
    assert clipdata.for_cameras(config, clip).loss.camera_prior == 0
    known = dataclasses.replace(clip, camera_from_object=np.tile(np.eye(4), (12, 1, 1)))
    config.data.cameras = "auto"
    assert clipdata.for_cameras(config, known) is config
    found = dataclasses.replace(known, cameras=clipdata.FOUND)
    assert clipdata.for_cameras(config, found).loss.camera_prior == 0
    config.data.cameras = "constant"
    assert clipdata.for_cameras(config, known).loss.camera_prior == 0
    assert config.loss.camera_prior > 0  # the caller's recipe stays


@pytest.mark.parametrize(
    ("how", "known", "searched"),
    [
        ("auto", False, True),
        ("auto", True, False),
        ("searched", True, True),
        ("constant", False, False),
        ("smooth", False, False),
    ],
)
def test_cameras_are_searched_where_nobody_knows_them(
    how, known, searched, tmp_path, monkeypatch
):
    there = np.tile(np.eye(4, dtype=np.float32), (FRAMES, 1, 1))
    monkeypatch.setattr(clipdata, "found_cameras", lambda *given: there + 1)
    monkeypatch.setattr(clipdata, "flow_cached", lambda *given, **words: {})
    clip = tiny_clip()
    if known:
        clip = dataclasses.replace(clip, camera_from_object=there, cameras="noisy")
    config = tiny_recipe(**{"data.cameras": how})
    after = clipdata.with_cameras(config, clip, tmp_path)
    assert (after.cameras == clipdata.FOUND) == searched
    if searched:
        np.testing.assert_array_equal(after.camera_from_object, there + 1)
        assert clipdata.with_cameras(config, after, tmp_path) is after
    else:
        assert after is clip


def test_a_misspelt_choice_of_cameras_is_answered_with_what_there_is(tmp_path):
    config = tiny_recipe(**{"data.cameras": "smoth"})
    with pytest.raises(ValueError, match="auto, smooth, given"):
        clipdata.with_cameras(config, tiny_clip(), tmp_path)


def test_searched_cameras_say_which_view_is_the_side():
    """The shape begins along the animal although the widest view was oblique."""
    clip = tiny_clip()
    cameras = constant_camera(clip.masks, default_intrinsics(clip.masks.shape[1:]))
    c, s = np.cos(0.6), np.sin(0.6)
    cameras[:, :3, :3] = cameras[0, :3, :3] @ [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    known = dataclasses.replace(clip, camera_from_object=cameras, cameras="exact")
    by_width = clipdata.start_of(tiny_recipe(**{"data.cameras": "auto"}), known)[0]
    found = dataclasses.replace(known, cameras=clipdata.FOUND)
    by_plane = clipdata.start_of(tiny_recipe(**{"data.cameras": "auto"}), found)[0]
    np.testing.assert_allclose(np.abs(by_plane.side), [1, 0, 0], atol=1e-6)
    assert np.abs(by_width.side[0]) == pytest.approx(np.cos(0.6), abs=1e-3)
