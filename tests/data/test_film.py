"""Films come in turned, uneven, large or broken."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from adreamer_jax.data.film import evenly, fit_size, read_film

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
    film = read(folder, longest=32)
    assert film.images.shape[1:3] == (16, 32) and film.source_size == (HEIGHT, WIDTH)
    with pytest.raises(ValueError, match=r"at least 16 pixels .* got 16 x 8 of a film"):
        read(folder, longest=16)
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


def test_grays_of_sixteen_bits_keep_their_upper_half(tmp_path):
    folder = tmp_path / "shots"
    folder.mkdir()
    gray = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    Image.fromarray(gray.astype(np.uint16)).save(folder / "0.png")
    film = read(folder)
    assert film.images[0, 0, 0].tolist() == [0] * 3
    assert film.images[0, -1, -1].tolist() == [255] * 3
    middle = int(film.images[0, HEIGHT // 2, 0, 0])
    assert abs(middle - 128) <= 1
    Image.fromarray(gray.astype(np.float32)).save(folder / "1.tif")
    with pytest.raises(ValueError, match="8 or 16 bits a color, got floating point"):
        read(folder)


def test_names_with_odd_signs(tmp_path):
    path = write_video(tmp_path / "ä.mp4", range(0, 300, 100))
    assert len(read(path.rename(tmp_path / "12:30.mp4")).images) == 3
    save_pictures(tmp_path / "fox", 3, pattern="fox²_{}.png")
    assert len(read(tmp_path / "fox").images) == 3


def test_a_film_that_goes_on_says_so(tmp_path):
    path = write_video(tmp_path / "a.mp4", range(0, 1000, 100))
    assert not read(path).goes_on and not read(path, most=10).goes_on
    assert read(path, most=4).goes_on
    assert not read(path, most=4, stop=0.4).goes_on


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
