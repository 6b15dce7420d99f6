"""Films come in turned, uneven, large or broken; masks follow what moves."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from adreamer_jax.data.prepare import (
    evenly,
    first_mask,
    fit_size,
    follow_mask,
    grown,
    large_parts,
    read_film,
    read_masks,
    whole,
)

HEIGHT, WIDTH = 32, 64
PICTURE = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
PICTURE[:16, :32] = [220, 40, 40]  # red at the top left


def write_video(path, times_ms, *, turned=False):
    """A video whose frames show one after the other a brighter blue corner."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"bf": "0", "crf": "5"}
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(times_ms):
            picture = PICTURE.copy()
            picture[16:, 32:] = [0, 0, 20 * number]
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if turned:  # the matrix in the track header that phones write for upright films
        data = bytearray(path.read_bytes())
        at = data.index(b"tkhd") + 44
        one = 1 << 16
        matrix = (0, one, 0, -one, 0, 0, HEIGHT * one, 0, 1 << 30)
        data[at : at + 36] = struct.pack(">9i", *matrix)
        path.write_bytes(data)
    return path


def read(path, **changes):
    return read_film(path, **{"longest": 64, "most": 100, **changes})


def numbers(film):
    """Which frames of the source were taken, seen from their blue corner."""
    return np.rint(film.images[:, -4, -4, 2] / 20).astype(int).tolist()


def test_a_video_is_read_as_it_is_shown(tmp_path):
    film = read(write_video(tmp_path / "a.mp4", range(0, 1000, 100)))
    assert film.images.shape == (10, HEIGHT, WIDTH, 3)
    assert film.fps == 10 and film.source_size == (HEIGHT, WIDTH)
    assert numbers(film) == film.indices == list(range(10))
    error = abs(film.images[0, 4:12, 4:28].astype(int) - [220, 40, 40])
    assert error.max() < 12


def test_a_turned_video_stands_upright(tmp_path):
    film = read(write_video(tmp_path / "a.mp4", range(0, 300, 100), turned=True))
    assert film.images.shape[1:3] == (WIDTH, HEIGHT)
    # A quarter turn clockwise carries the top left to the top right.
    corners = film.images[0, [8, 8, -8, -8], [8, -8, 8, -8], 0] > 120
    assert corners.tolist() == [False, True, False, False]


def test_uneven_times_are_shown_on_an_even_clock(tmp_path):
    path = write_video(tmp_path / "a.mp4", [0, 100, 150, 400, 420, 900])
    film = read(path, fps=10)
    # what is on show at 0, .1, .2 ... .9 seconds
    assert film.indices == [0, 1, 2, 2, 3, 4, 4, 4, 4, 5]
    assert numbers(film) == film.indices


def test_the_even_clock_forgives_rounded_times():
    frames = [(i, round(i / 30, 3), np.zeros(1)) for i in range(90)]
    assert [i for i, _ in evenly(iter(frames), 30.0)] == list(range(90))
    assert [i for i, _ in evenly(iter(frames), 15.0)] == [*range(0, 90, 2)]


def test_a_part_of_a_film(tmp_path):
    path = write_video(tmp_path / "a.mp4", range(0, 1000, 100))
    assert read(path, start=0.3, stop=0.7).indices == [3, 4, 5, 6]
    assert read(path, most=4).indices == [0, 1, 2, 3]
    assert read(path, fps=5, start=0.4, most=2).indices == [4, 6]
    with pytest.raises(ValueError, match="got no frame"):
        read(path, start=9)


def save_pictures(folder, count, *, pattern="shot_{}.png", size=None):
    folder.mkdir()
    for i in range(count):
        picture = Image.fromarray(PICTURE + np.uint8(i))
        picture.resize(size or picture.size).save(folder / pattern.format(i))
    return folder


def test_pictures_are_read_in_the_order_of_their_numbers(tmp_path):
    film = read(save_pictures(tmp_path / "shots", 11))  # 10 comes after 9, not after 1
    assert film.images[:, -1, -1, 0].tolist() == [40 + i for i in range(11)]
    assert film.fps == 24


def test_pictures_are_shrunk_and_never_enlarged(tmp_path):
    folder = save_pictures(tmp_path / "shots", 3)
    film = read(folder, longest=16)
    assert film.images.shape[1:3] == (8, 16) and film.source_size == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(film.images[0, 1, 1], [220, 40, 40])
    assert read(folder, longest=500).images.shape[1:3] == (HEIGHT, WIDTH)
    assert fit_size((1080, 1920), 256) == (144, 256)


def test_a_picture_turned_by_its_camera_stands_upright(tmp_path):
    folder = tmp_path / "shots"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it
    Image.fromarray(PICTURE).save(folder / "0.jpg", exif=exif, quality=95)
    film = read(folder)
    assert film.images.shape[1:3] == (WIDTH, HEIGHT)
    assert film.images[0, 8, -8, 0] > 150 > film.images[0, 8, 8, 0]


def nothing(path):
    pass


def empty(path):
    path.mkdir()


def text(path):
    path.write_text("not a video")


def cut_video(path):
    write_video(path, range(0, 1000, 100))
    path.write_bytes(path.read_bytes()[:600])


def mixed(path):
    save_pictures(path, 3)
    Image.fromarray(PICTURE[:-1]).save(path / "shot_1.png")


def torn(path):
    save_pictures(path, 3)
    data = (path / "shot_2.png").read_bytes()
    (path / "shot_2.png").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    "make, message",
    [
        (nothing, "does not exist"),
        (empty, "got none in"),
        (text, "must be a video file"),
        (cut_video, "must be a (whole video|video file)"),
        (mixed, "must have one size"),
        (torn, "shot_2.png must be a whole picture"),
    ],
)
def test_broken_films_are_named(tmp_path, make, message):
    path = tmp_path / "film.mp4"
    make(path)
    with pytest.raises(ValueError, match=message):
        read(path)


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
