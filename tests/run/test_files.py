"""A file is whole or absent."""

import os
import subprocess
import sys

import pytest

from adreamer_jax.run.files import replacing, write_bytes, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "deep" / "a.txt", "old")
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_good_write_replaces_and_keeps_the_ending(tmp_path):
    path = write_bytes(tmp_path / "a.bin", b"1")
    with replacing(path) as part:
        assert part.suffix == ".bin" and part.parent == path.parent
        part.write_bytes(b"2")
    assert path.read_bytes() == b"2" and len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_process_left_goes_away_with_the_next_write(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lives = os.getppid()
    left = tmp_path / f".a.{ended.pid}.part.png"
    kept = [f".a.{lives}.part.png", f".a.b.{ended.pid}.part.png", ".a.part.png"]
    for name in (left.name, *kept):
        (tmp_path / name).write_bytes(b"half")
    write_bytes(tmp_path / "a.png", b"whole")
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", *kept}
