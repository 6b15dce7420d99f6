"""Masks are found for their frames, and follow what moves."""

import numpy as np
import pytest
from PIL import Image

from adreamer_jax.data.masks import (
    first_mask,
    follow_mask,
    grown,
    large_parts,
    read_masks,
    whole,
)
from tests.data.test_film import HEIGHT, WIDTH, read, save_pictures, write_video


def test_given_masks_are_found_for_the_frames_that_were_taken(tmp_path):
    film = read(save_pictures(tmp_path / "shots", 6), start=1 / 24, stop=4 / 24)
    assert film.indices == [1, 2, 3]
    masks = tmp_path / "masks"
    masks.mkdir()
    for i in range(6):
        picture = np.zeros((HEIGHT, WIDTH), np.uint8)
        picture[:, : 8 * (i + 1)] = 255
        Image.fromarray(picture).save(masks / f"{i}.png")
    found, complete = read_masks(masks, film)
    assert complete
    assert found.sum((1, 2)).tolist() == [HEIGHT * 8 * (i + 1) for i in (1, 2, 3)]
    first, complete = read_masks(masks / "4.png", film)
    assert not complete and first.sum() == HEIGHT * 40


def save_masks(folder, numbers, *, pattern="{:03d}.png"):
    """Masks that are as wide as their number says."""
    folder.mkdir()
    for i in numbers:
        picture = np.zeros((HEIGHT, WIDTH), np.uint8)
        picture[:, : 4 * (i + 1)] = 255
        Image.fromarray(picture).save(folder / pattern.format(i))
    return folder


def widths(folder, film):
    """Which masks were taken, seen from their widths."""
    return (read_masks(folder, film)[0].sum((1, 2)) // (4 * HEIGHT) - 1).tolist()


def test_masks_of_pictures_go_by_their_names(tmp_path):
    film = read(save_pictures(tmp_path / "shots", 6), most=3)
    masks = save_masks(tmp_path / "masks", range(1, 6), pattern="shot_{}.png")
    with pytest.raises(ValueError, match=r"got 5 in .* for 6 and none named shot_0"):
        read_masks(masks, film)
    save_masks(tmp_path / "more", range(6), pattern="shot_{}.png")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "more" / "all.png")
    assert widths(tmp_path / "more", film) == [0, 1, 2]


def test_masks_of_a_video_are_numbered_without_a_gap(tmp_path):
    film = read(write_video(tmp_path / "a.mp4", range(0, 1000, 100)), start=0.2, most=4)
    assert widths(save_masks(tmp_path / "whole", range(10)), film) == [2, 3, 4, 5]
    assert widths(save_masks(tmp_path / "begun", range(6)), film) == [2, 3, 4, 5]
    # numbered from one on, the first mask is of the first frame all the same
    assert widths(save_masks(tmp_path / "ones", range(1, 11)), film) == [3, 4, 5, 6]
    gap = save_masks(tmp_path / "gap", [0, 1, 3, 4, 5, 6, 7, 8, 9])
    with pytest.raises(ValueError, match=r"got 003\.png .* where number 2 should be"):
        read_masks(gap, film)
    late = save_masks(tmp_path / "late", range(2, 10))
    with pytest.raises(ValueError, match=r"got 002\.png .* where number 0 should be"):
        read_masks(late, film)
    (tmp_path / "begun" / "000.png").rename(tmp_path / "begun" / "overview.png")
    with pytest.raises(ValueError, match=r"got overview\.png"):
        read_masks(tmp_path / "begun", film)


def test_what_is_opaque_in_a_cut_out_is_the_object(tmp_path):
    film = read(save_pictures(tmp_path / "shots", 2))
    cut = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    cut[..., 3] = 0
    cut[8:16] = [20, 15, 10, 255]  # a dark animal on nothing, which is white
    Image.fromarray(cut).save(tmp_path / "cut.png")
    (found,), _ = read_masks(tmp_path / "cut.png", film)
    assert found[8:16].all() and found.sum() == 8 * WIDTH
    cut[..., :3], cut[..., 3] = 255 * (cut[..., 3:] > 0), 255
    Image.fromarray(cut).save(tmp_path / "plain.png")  # alpha says nothing there
    np.testing.assert_array_equal(read_masks(tmp_path / "plain.png", film)[0][0], found)


def test_masks_by_palette_and_wrong_masks(tmp_path):
    film = read(save_pictures(tmp_path / "shots", 2), longest=32)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[8:16] = 1
    picture = Image.fromarray(labels, "P")
    picture.putpalette([0, 0, 0, 30, 0, 0])
    picture.save(tmp_path / "palette.png")
    found, _ = read_masks(tmp_path / "palette.png", film)
    assert found.shape == (1, 16, 32) and found.sum() == 4 * 32
    Image.fromarray(labels[:-1]).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match="must have the frames' size"):
        read_masks(tmp_path / "small.png", film)
    Image.fromarray(0 * labels).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match="got an empty mask"):
        read_masks(tmp_path / "black.png", film)
    with pytest.raises(ValueError, match="one picture of the first frame or a folder"):
        read_masks(tmp_path / "none", film)


def moving_blob(count=9):
    """A speckled warm disc that moves over a speckled cold ground, and its masks."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(96) + 0.5, np.arange(72) + 0.5)
    coat = np.clip([190, 120, 60] + 25 * rng.normal(size=(72, 96, 1)), 0, 255)
    ground = np.clip([60, 90, 130] + 25 * rng.normal(size=(72, 96, 1)), 0, 255)
    images, masks = [], []
    for i in range(count):
        mask = np.hypot(x - 34 - 3 * i, y - 36) < 18
        moved = np.roll(coat, 3 * i, 1)
        images.append(np.where(mask[..., None], moved, ground).astype(np.uint8))
        masks.append(mask)
    return np.stack(images), np.stack(masks)


def overlap(first, second):
    return (first & second).sum() / (first | second).sum()


def test_an_object_is_cut_out_of_its_box_and_followed():
    images, masks = moving_blob()
    for box in (None, (12.0, 14.0, 56.0, 58.0)):
        found = first_mask(images[0], box)
        assert overlap(found, masks[0]) > 0.95
    followed = follow_mask(images, found)
    assert min(map(overlap, followed, masks)) > 0.9


def test_following_is_the_same_every_time():
    images, masks = moving_blob(4)
    runs = [follow_mask(images, masks[0]) for _ in range(2)]
    np.testing.assert_array_equal(*runs)


def test_a_lost_frame_keeps_what_the_flow_says():
    images, masks = moving_blob(5)
    images[3] = 128  # the camera's flash
    followed = follow_mask(images, masks[0])
    assert overlap(followed[3], masks[2]) > 0.4


@pytest.mark.parametrize("box", [(5.0, 5, 6, 6), (0.0, 0, 96, 72), (90.0, 5, 20, 30)])
def test_useless_boxes_are_refused(box):
    with pytest.raises(ValueError, match="left, top, right, bottom"):
        first_mask(moving_blob(1)[0][0], box)


def test_an_object_like_its_ground_is_refused():
    with pytest.raises(ValueError, match="must differ from the ground"):
        first_mask(np.full((40, 40, 3), 90, np.uint8))


def test_masks_lose_specks_and_pinholes():
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    rough = mask.copy()
    rough[30, 30], rough[2, 2] = False, True
    np.testing.assert_array_equal(whole(rough), mask)
    assert not large_parts(np.zeros((5, 5), bool), 0.1).any()
    assert grown(mask, 0.02).sum() > mask.sum()
