import time

import pytest

from adreamer_jax.run import progress


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (89, "89 s"),
        (95, "2 min"),
        (3600, "60 min"),
        (12000, "3 h 20 min"),
    ],
)
def test_durations_read_as_spoken(seconds, words):
    assert progress.duration(seconds) == words


def test_without_a_terminal_there_are_few_plain_lines(capsys):
    with progress.Progress("extract", start=0, total=30) as shown:
        for step in range(1, 31):
            shown.advance(step)
            shown.show(0.5)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("extract: step 30/30, loss 0.5, ")


def test_a_terminal_gets_a_bar_and_a_running_count(capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with progress.timed("compiling"):
        time.sleep(0.6)
    with progress.Progress("extract", start=10, total=30) as shown:
        shown.advance(30)
        shown.show(0.25)
    text = capsys.readouterr().err
    assert "\rcompiling ... " in text and "compiling: 0." in text
    assert "30/30" in text and "loss 0.25" in text


def test_pace_is_the_time_of_a_step():
    shown = progress.Progress("extract", start=0, total=10)
    time.sleep(0.02)
    shown.advance(2)
    assert 0.01 <= shown.pace() < 1.0


def test_timed_ends_its_line_when_the_work_fails(capsys):
    with pytest.raises(ValueError), progress.timed("reading"):
        raise ValueError
    assert capsys.readouterr().err == "reading ...\n"
