"""CPU time in turns, and tables."""

from benchmarks import timing


def spin(count):
    return lambda: sum(i * i for i in range(count))


def test_more_work_takes_more_time():
    times = timing.cpu_ms({"much": spin(400_000), "little": spin(4_000)}, repeats=3)
    assert list(times) == ["much", "little"]
    assert times["much"] > 5 * times["little"]


def test_a_table_is_markdown():
    text = timing.table(["a", "b"], [["x", 1.23456], ["y", 2]])
    assert text.splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| x | 1.23 |",
        "| y | 2 |",
    ]
