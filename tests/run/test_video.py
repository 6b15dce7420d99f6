"""Videos hold the pictures and play in a browser."""

from pathlib import Path

import av
import numpy as np
import pytest

from adreamer_jax.run.video import read_video, write_video


def clip(t=6, h=33, w=47):
    y, x = np.mgrid[:h, :w]
    frames = [np.stack([4 * x, 5 * y, 0 * x + 20 * i], -1) for i in range(t)]
    return np.stack(frames).astype(np.uint8)


def test_pictures_come_back_nearly_unchanged(tmp_path):
    frames = clip()
    seen = read_video(write_video(frames, tmp_path / "a.mp4", 12.0))
    assert seen.shape == (6, 34, 48, 3)  # odd sides grow by one line
    assert np.abs(seen[:, :33, :47].astype(int) - frames).mean() < 4


def test_stream_is_what_browsers_play(tmp_path):
    path = write_video(clip(), tmp_path / "a.mp4", 23.976)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.pix_fmt == "yuv420p"
        assert np.isclose(float(stream.average_rate), 23.976, atol=1e-3)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_the_same_pictures_make_the_same_bytes(tmp_path):
    """In sizes that are no whole number of blocks, amid memory in disorder."""
    random = np.random.default_rng(0)
    x = np.linspace(-3, 3, 872) - np.linspace(-1, 1, 16)[:, None, None]
    blob = np.exp(-(x**2) - np.linspace(-3, 3, 288)[:, None] ** 2)
    pictures = 255 - blob[..., None] * random.uniform(0, 255, (288, 872, 3))
    pictures = np.round(pictures).astype(np.uint8)
    found = set()
    for i in range(16):
        held = [random.random(random.integers(1_000, 900_000)) for _ in range(3)]
        written = write_video(pictures, tmp_path / f"{i}.mp4", 10.0)
        found.add(written.read_bytes())
        del held
    assert len(found) == 1


def test_floats_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must be uint8"):
        write_video(clip() / 255.0, tmp_path / "a.mp4", 10.0)
    assert not list(tmp_path.iterdir())


def test_a_folder_may_have_a_colon_in_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_video(clip(), Path("we:ird") / "a.mp4", 10.0)
    assert len(read_video(path)) == len(clip())
