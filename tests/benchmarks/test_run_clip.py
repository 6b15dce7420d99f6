"""What a run took: measured of a real child process, added up over resumed runs."""

import json
import sys

import pytest

from benchmarks import run_clip as rc


def test_a_child_is_measured(tmp_path):
    work = "x = bytearray(60 << 20); sum(i for i in range(3_000_000)); print('hello')"
    took = rc.measured([sys.executable, "-c", work], log=tmp_path / "log.txt")
    assert took["exit_code"] == 0
    assert took["peak_mib"] > 60
    assert 0.02 < took["cpu_seconds"] < took["wall_seconds"] + 1
    assert (tmp_path / "log.txt").read_text() == "hello\n"


def test_a_failure_is_told(tmp_path):
    took = rc.measured([sys.executable, "-c", "raise SystemExit(3)"])
    assert took["exit_code"] == 3


def test_the_child_stays_on_its_cores(tmp_path):
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    core = min(rc.os.sched_getaffinity(0))
    rc.measured([sys.executable, "-c", code], cores={core}, log=tmp_path / "log.txt")
    assert json.loads((tmp_path / "log.txt").read_text()) == [core]


def test_a_resumed_run_adds_up():
    first = dict(exit_code=-9, wall_seconds=5.0, cpu_seconds=4.0, peak_mib=900.0)
    second = dict(exit_code=0, wall_seconds=2.0, cpu_seconds=1.5, peak_mib=700.0)
    assert rc.merged({}, first) == first
    assert rc.merged(first, second) == dict(
        exit_code=0, wall_seconds=7.0, cpu_seconds=5.5, peak_mib=900.0
    )


def test_words_reach_the_program(tmp_path):
    script = tmp_path / "main.py"
    script.write_text("import sys; print(*sys.argv[1:], sep='\\n')")
    took = rc.run_clip(
        "clips/fox", tmp_path / "run", overrides=["--config.run.seed=1"], main=script
    )
    words = (tmp_path / "run" / "output.txt").read_text().splitlines()
    assert words == took["command"]
    assert words[0] == "--config=configs/extract.py"
    assert words[2:] == ["--config.data.clip=clips/fox", "--config.run.seed=1"]
    assert json.loads((tmp_path / "run" / "resources.json").read_text()) == took


@pytest.mark.parametrize(("text", "cores"), [("", None), ("1", {1}), ("0,2", {0, 2})])
def test_core_numbers(text, cores):
    assert rc.parse_cores(text) == cores
