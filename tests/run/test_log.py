import json

import numpy as np
from PIL import Image

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


def test_pictures_come_back_as_they_were(tmp_path):
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    with Log(tmp_path, stage="extract", step=0) as log:
        log.picture(500, "turn", image)
    path = tmp_path / "pictures" / "extract_000500_turn.png"
    assert np.array_equal(np.asarray(Image.open(path)), image)
