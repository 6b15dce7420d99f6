"""Evaluation of an exported capsule against its own truth, and of damaged exports."""

import dataclasses
import json

import numpy as np
import pytest

from adreamer_jax.data.clip import Keypoints, Truth
from adreamer_jax.run import evaluate as ev
from adreamer_jax.run import score
from adreamer_jax.run.ply import write_ply
from adreamer_jax.run.track import from_asset
from tests.run.capsule import make_asset, make_clip, make_system


@pytest.fixture(scope="module")
def asset():
    return make_asset()


@pytest.fixture(scope="module")
def clip(asset):
    return make_clip(asset)


@pytest.fixture(scope="module")
def truth(asset):
    mesh = from_asset(asset)
    near = np.argsort(mesh.vertices[0, :, 2])[:2]  # the two vertices nearest to us
    marks = {}
    for frame in (0, 3):
        where = mesh.vertices[frame][near]
        pixel = where[:, :2] / where[:, 2:] * mesh.intrinsics[frame, :2]
        pixel = pixel + mesh.intrinsics[frame, 2:]
        marks[frame] = np.concatenate([pixel, np.ones((2, 1))], 1)
    return Truth(
        mesh.vertices,
        mesh.faces,
        asset.camera_from_object,
        asset.intrinsics[0],
        Keypoints(("one", "other"), marks),
    )


def write_export(folder, asset, missing=()):
    """What the export leaves of a perfect reconstruction."""
    mesh = from_asset(asset)
    write_ply(folder / "canonical.ply", asset.vertices, asset.faces, asset.colors)
    for frame, vertices in enumerate(mesh.vertices):
        if frame not in missing:
            write_ply(folder / "meshes" / f"{frame:05d}.ply", vertices, mesh.faces)
    np.savez(
        folder / "cameras.npz",
        camera_from_object=asset.camera_from_object,
        intrinsics=asset.intrinsics,
    )
    return folder


@pytest.fixture(scope="module")
def workdir(asset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_export(folder / "export" / "extract", asset)
    return folder


@pytest.fixture(autouse=True, scope="module")
def fewer_points():
    """A tenth of the protocol's points: the laws hold, the tests are fast."""
    before, score.make_reference.__kwdefaults__["points"] = score.POINTS, 1500
    yield
    score.make_reference.__kwdefaults__["points"] = before


def test_a_perfect_run_scores_full(workdir, asset, clip, truth):
    out = ev.evaluate(make_system(asset), None, None, clip, truth, workdir, every=2)
    assert out == json.loads((workdir / "evaluation.json").read_text())
    assert out["protocol"] == "banmo" and out["every"] == 2
    assert out["shape"]["frames"] == [0, 2, 4]
    assert out["shape"]["f5"] > 0.99 and out["shape"]["missing_frames"] == 0
    assert out["silhouettes"]["mesh_iou"] > 0.99
    assert out["pictures"]["mask_iou"] > 0.99 and out["pictures"]["psnr"] > 40
    assert out["root_pose"]["rotation_rms_deg"] < 1e-3
    assert out["keypoints"]["pck@0.1"] == 1.0
    assert set(out["keypoints"]) >= {"stay", "box", "flow"}


def test_a_rest_shape_carried_stiffly_is_worse_than_the_motion(workdir, clip, truth):
    out = ev.evaluate_export(workdir, clip, truth, every=2)
    assert out["rigid_twin"]["chamfer_percent"] > 1.3 * out["shape"]["chamfer_percent"]


def test_tracks_are_left_in_the_scorers_form(workdir, asset, clip, truth):
    ev.evaluate_export(workdir, clip, truth, every=4, make_asset=lambda: asset)
    path = workdir / "export" / "extract" / "keypoints.json"
    tracks = json.loads(path.read_text())
    assert tracks["0"]["3"][1] == pytest.approx(
        truth.keypoints.frames[3][1, :2].tolist(), abs=1.5
    )


def test_without_truth_only_pictures_are_scored(workdir, asset, clip):
    out = ev.evaluate_export(workdir, clip, every=2)
    assert set(out) == {"clip", "protocol", "every", "points", "silhouettes"}


def test_missing_and_broken_meshes_are_failures(tmp_path, asset, clip, truth):
    folder = write_export(tmp_path, asset, missing=(2,))
    nan = np.full_like(asset.vertices, np.nan)
    write_ply(folder / "meshes" / "00004.ply", nan, asset.faces)
    out = ev.evaluate_export(folder, clip, truth, every=2)
    assert out["shape"]["missing_frames"] == 2
    assert out["shape"]["f10"] < 0.4
    assert out["silhouettes"]["mesh_iou"] == pytest.approx(1 / 3, abs=0.01)


def test_pictures_are_taken_at_the_long_side_asked_for(workdir, asset, clip):
    products = ev.read_products(ev.export_folder(workdir), clip)
    size = clip.masks.shape[1:3]
    draw = ev.pictures_of(make_system(asset), None, None, products, size, long_side=38)
    picture = draw(1)
    assert picture.mask.shape == (32, 38)
    small = ev.shrink(clip.masks[1].astype(np.float32), picture.mask.shape)
    assert score.mask_iou(picture.mask > 0.5, small > 0.5) > 0.9


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda folder: None, "must hold meshes"),
        (lambda folder: (folder / "meshes").mkdir(), "cameras.npz"),
    ],
)
def test_an_empty_export_is_refused(tmp_path, clip, harm, sentence):
    harm(tmp_path)
    with pytest.raises(ValueError, match=sentence):
        ev.evaluate_export(tmp_path, clip)


def test_a_truncated_mesh_and_another_clip_are_refused(tmp_path, asset, clip, truth):
    folder = write_export(tmp_path, asset)
    longer = dataclasses.replace(clip, masks=np.concatenate([clip.masks, clip.masks]))
    with pytest.raises(ValueError, match="one camera a frame"):
        ev.evaluate_export(folder, longer)
    path = folder / "meshes" / "00000.ply"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="whole mesh file"):
        ev.evaluate_export(folder, clip, truth)
    with pytest.raises(ValueError, match="every must be at least 1"):
        ev.evaluate_export(folder, clip, truth, every=0)


def test_the_summary_names_the_main_figures(workdir, asset, clip, truth):
    out = json.loads((workdir / "evaluation.json").read_text())
    line = ev.summary(out)
    for word in ("Chamfer", "F@2%", "root pose", "IoU", "PCK"):
        assert word in line
