import json
import struct

import numpy as np
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog

from adreamer_jax.run.log import Log, forget, read_metrics


def steps_of(path, stage):
    return [m["step"] for m in read_metrics(path) if m["stage"] == stage]


def test_scalars_are_json_lines_with_stage_step_and_wall_time(tmp_path):
    with Log(tmp_path, stage="extract", step=0) as log:
        log.scalars(5, {"loss": 0.25, "loss/rgb": float("nan")})
    (line,) = read_metrics(tmp_path / "metrics.jsonl")
    assert (line["stage"], line["step"], line["loss"]) == ("extract", 5, 0.25)
    assert line["wall"] > 1e9 and np.isnan(line["loss/rgb"])
    assert any((tmp_path / "tensorboard" / "extract").iterdir())


def test_resuming_forgets_later_steps_of_this_stage_only(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for stage in ("extract", "generate"):
        with Log(tmp_path, stage=stage, step=0) as log:
            for step in (5, 10, 15):
                log.scalars(step, {"loss": 1.0})
    with Log(tmp_path, stage="extract", step=10) as log:
        log.scalars(15, {"loss": 0.5})
    assert steps_of(path, "extract") == [5, 10, 15]
    assert steps_of(path, "generate") == [5, 10, 15]


def test_half_a_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = json.dumps({"stage": "extract", "step": 5})
    path.write_text(whole + "\n" + whole[:-4])
    forget(path, stage="extract", after=5)
    assert path.read_text() == whole + "\n"


def test_a_file_that_is_not_there_has_no_metrics(tmp_path):
    assert read_metrics(tmp_path / "none.jsonl") == []
    forget(tmp_path / "none.jsonl", stage="extract", after=0)
    assert not (tmp_path / "none.jsonl").exists()


def records(path):
    """The events of a TensorBoard file: length, checksum, content, checksum."""
    data, start = path.read_bytes(), 0
    while start < len(data):
        (size,) = struct.unpack_from("<Q", data, start)
        yield Event.FromString(data[start + 12 : start + 12 + size])
        start += 16 + size


def test_tensorboard_reads_the_same_and_forgets_what_was_undone(tmp_path):
    for step in (0, 5):  # within one second: two files all the same
        with Log(tmp_path, stage="extract", step=step) as log:
            log.scalars(step + 5, {"loss": 0.5})
            log.picture(step + 5, "turn", np.zeros((2, 2, 3), np.uint8))
    files = sorted((tmp_path / "tensorboard" / "extract").iterdir())
    assert len(files) == 2
    for path, after in zip(files, (0, 5), strict=True):
        head, start, scalar, picture = records(path)
        assert head.file_version == "brain.Event:2"
        assert (start.step, start.session_log.status) == (after + 1, SessionLog.START)
        assert (scalar.step, scalar.summary.value[0].tag) == (after + 5, "loss")
        assert scalar.summary.value[0].simple_value == 0.5
        assert picture.summary.value[0].image.height == 2


def test_pictures_come_back_as_they_were(tmp_path):
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    with Log(tmp_path, stage="extract", step=0) as log:
        log.picture(500, "turn", image)
    path = tmp_path / "pictures" / "extract_000500_turn.png"
    assert np.array_equal(np.asarray(Image.open(path)), image)
