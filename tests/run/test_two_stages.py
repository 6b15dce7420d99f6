"""Both stages by the command line, at the smallest size, on the embedded clip."""

import hashlib
import shutil

import numpy as np
import orbax.checkpoint as ocp
import pytest

from adreamer_jax.run.cli import main

pytestmark = pytest.mark.slow

TINY = {
    "data.resolution": 24,
    "data.frames_per_step": 4,
    "data.rays_per_frame": 16,
    "data.flow_gaps": "(1,)",
    "scene.field.grid.levels": 3,
    "scene.field.grid.log2_slots": 9,
    "scene.field.grid.finest": 16,
    "scene.field.width": 16,
    "scene.bones.count": 5,
    "scene.bones.terms_per_frame": 0.4,
    "render.samples": 12,
    "render.capacity": 192,
    "render.occupancy_cells": 12,
    "render.chunk": 256,
    "render.picture_samples": 12,
    "csd.resolution": 8,
    "csd.samples": 8,
    "run.steps": 8,
    "run.rigid": 3,
    "run.refresh_every": 4,
    "run.save_every": 4,
    "run.mesh_cells": 12,
    "run.rest_cells": 16,
    "run.video_side": 16,
    "run.picture_side": 16,
    "generate.csd.resolution": 8,
    "generate.csd.samples": 8,
}


def command(workdir, *words, recipe="csd.py:smoke", **changes):
    flags = [f"--config.{key}={value}" for key, value in changes.items()]
    return main(
        [
            "adreamer",
            f"--config=configs/{recipe}",
            f"--workdir={workdir}",
            *words,
            *flags,
        ]
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "both"
    assert command(folder, **TINY) == 0
    return folder


def end(folder, stage):
    """The leaves of the newest checkpoint of a stage."""
    manager = ocp.CheckpointManager((folder / "checkpoints" / stage).absolute())
    tree = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore())
    import jax

    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def prints(folder):
    """What every file of a folder holds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {p: hashlib.sha1(p.read_bytes()).hexdigest() for p in files}


def test_both_stages_leave_their_products_side_by_side(work):
    for stage in ("extract", "generate"):
        names = {path.name for path in (work / "export" / stage).iterdir()}
        assert {
            "model.glb",
            "canonical.ply",
            "rig.json",
            "motion.bvh",
            "meshes",
        } <= names
        for name in ("reconstruction", "turntable", "reanimated"):
            assert (work / "videos" / f"{stage}_{name}.mp4").is_file()
        assert (work / "pictures" / f"{stage}_skeleton.png").is_file()
    page = (work / "report.html").read_text()
    assert "Extracted from the clip" in page and "Generated from the prompt" in page


def test_a_run_that_stops_in_the_second_stage_ends_the_same(work, tmp_path):
    before, first = end(work, "generate"), prints(work / "checkpoints" / "extract")
    folder = tmp_path / "stopped"
    shutil.copytree(work, folder)
    for step in (folder / "checkpoints" / "generate").glob("6"):
        shutil.rmtree(step)
    assert command(folder, **TINY) == 0
    assert end(folder, "generate") == before
    assert list(prints(folder / "checkpoints" / "extract").values()) == list(
        first.values()
    )


def test_later_jobs_and_other_runs_start_from_the_folder(work, tmp_path):
    pose = tmp_path / "wave.json"
    pose.write_text('{"bone_01": {"rotation": [0, 30, 0]}}')
    words = ["adreamer", f"--workdir={work}", "--job=pose", f"--pose={pose}"]
    assert main([*words, "--stage=extract"]) == 0
    assert (work / "export" / "extract" / "pose_wave" / "model.glb").is_file()
    other = tmp_path / "other"
    changes = {"generate.source": work, "generate.motion": work}
    changes |= {"generate.csd.resolution": 8, "generate.csd.samples": 8}
    assert command(other, recipe="generate.py:smoke", **changes) == 0
    assert (other / "videos" / "turntable.mp4").is_file()
    mine, theirs = (np.load(w / "export/generate/cameras.npz") for w in (work, other))
    for name in mine.files:
        np.testing.assert_allclose(mine[name], theirs[name], atol=1e-4)
