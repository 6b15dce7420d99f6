"""The judge sees the whole motion from all sides; its figures stay beside others."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import trimesh

from adreamer_jax.core.camera import project
from adreamer_jax.run import evaluate_text as et
from adreamer_jax.run.evaluate import write_evaluation
from adreamer_jax.run.export import asset_skeleton
from adreamer_jax.run.text_score import Judge
from adreamer_jax.types import Picture
from tests.run.capsule import make_asset, make_system


def test_cameras_hold_all_vertices():
    vertices = np.random.default_rng(0).normal(np.arange(1, 4), size=(200, 3))
    for camera in et.cameras_of(vertices, (0.3, 2.0, 5.0), side=32):
        pixels, depth = project(camera, jnp.asarray(vertices, jnp.float32))
        assert np.all(depth > 0) and np.all((pixels > 0) & (pixels < 32))


def test_frames_are_spread_over_the_whole_motion():
    assert et.frames_of(60, 4) == [0, 19, 39, 59]
    assert et.frames_of(3, 12) == [0, 1, 2]


def test_the_rest_mesh_is_seen_from_all_around():
    pictures = et.rest_pictures(make_asset(), side=24)
    assert pictures.shape == (8, 24, 24, 3) and pictures.max() <= 1.0
    shown = (np.abs(pictures - 0.5) > 0.01).any(-1).mean((1, 2))
    assert np.all((shown > 0.02) & (shown < 0.9))
    assert np.allclose(pictures[:, 0], 0.5, atol=0.01)  # nothing is cut off


def test_renders_agree_with_the_mesh_that_they_show_and_not_with_a_larger_one():
    asset = make_asset()
    larger = dataclasses.replace(asset, posed_vertices=1.5 * asset.posed_vertices)

    def render(state, frozen, camera, frame):
        shown = asset.posed_vertices[round(frame)]
        mask = et.outline_of(shown, asset.faces, camera).astype(np.float32)
        return Picture(np.repeat(mask[..., None], 3, -1), mask, mask, None)

    draw = lambda moved, system: et.pictures_of(
        system._replace(render=render), None, None, moved, side=32, most=3
    )
    videos, agreement = draw(asset, make_system(asset))
    assert [v.shape for v in videos.values()] == [(3, 32, 32, 3)] * 4
    assert agreement == 1.0
    assert 0.2 < draw(larger, make_system(asset))[1] < 0.7


def test_an_outline_is_where_the_camera_projects_the_mesh():
    asset = make_asset()
    (camera,) = et.cameras_of(asset.vertices, (0.7,), side=64)
    outline = et.outline_of(asset.vertices, asset.faces, camera)
    pixels, _ = project(camera, jnp.asarray(asset.vertices))
    column, row = np.asarray(pixels).astype(int).T
    near = np.pad(outline, 1)
    near = near[:-2] | near[1:-1] | near[2:]
    near = near[:, :-2] | near[:, 1:-1] | near[:, 2:]
    assert near[row, column].all()
    assert 0.02 < outline.mean() < 0.5


def test_what_a_moment_pulls_beyond_the_limit_is_torn_in_that_moment_alone():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    wide = square * [2.0, 1.0, 1.0]
    moments = np.stack([square, wide, 0.1 * square, 1.4 * square])
    parts = dict(vertices=square, faces=faces, posed_vertices=moments)
    asset = dataclasses.replace(make_asset(), **parts)
    wanted = 100.0 * (2.0 + 2.0**0.5) / (4.0 + 2.0**0.5) / 4.0
    # the diagonal grows by the root of 5 / 2, just beyond the limit
    assert np.isclose(et.torn_percent(asset), wanted)
    kept = et.torn_percent(asset, most=1.6)
    assert np.isclose(kept, 100.0 * 2.0 / (4.0 + 2.0**0.5) / 4.0)


def test_folds_inward_are_pits_and_folds_outward_are_none():
    """A cube with one corner pushed in: its three edges there fold inward."""
    cube = trimesh.creation.box((1.0, 1.0, 1.0))
    of = lambda vertices, **options: et.pitted_percent(
        dataclasses.replace(make_asset(), vertices=vertices, faces=cube.faces),
        **options,
    )
    assert of(cube.vertices) == 0.0
    pushed = cube.vertices.copy()
    pushed[np.argmin(pushed.sum(1))] = [0.1, 0.1, 0.1]
    found = of(pushed)
    assert 0.0 < found < 100.0
    assert of(pushed, least=179.0) == 0.0
    # the same surface inside out: what was folded inward is the rest
    turned = dataclasses.replace(
        make_asset(), vertices=pushed, faces=cube.faces[:, ::-1]
    )
    assert et.pitted_percent(turned) > found


def test_figures_of_a_prompt_lie_under_the_stages_name(tmp_path, monkeypatch):
    asset, seen = make_asset(), []
    skeleton = asset_skeleton(asset)

    def of_pictures(pictures):
        seen.append(pictures.shape)
        return np.tile([[0.6, 0.8]], (len(pictures), 1))

    def of_texts(texts):
        return np.array([[0.6, 0.8] if t == "a capsule" else [1.0, 0.0] for t in texts])

    fake = Judge("fake", of_texts, of_pictures)
    monkeypatch.setattr(et, "load_judge", lambda name, **_: fake)
    write_evaluation(tmp_path, {"shape": {"f2": 0.9}})
    out = et.evaluate_text(
        make_system(asset), None, None, tmp_path, prompt="a capsule",
        among=("a ball",), judge="somewhere", side=16, most=3, skeleton=skeleton,
    )  # fmt: skip
    assert seen == [(3, 16, 16, 3)] * 4 + [(8, 16, 16, 3)]
    assert 0.0 <= out["mesh_iou"] <= 1.0
    assert out["torn_percent"] == et.torn_percent(asset)
    assert out["pitted_percent"] == et.pitted_percent(asset)
    assert np.isclose(out["clip_score"], 100.0) and out["r_precision@1"] == 100.0
    known = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(known["generate"]["joints"].values()) == {0.0}
    assert known["generate"]["rest"]["clip_score"] == out["clip_score"]
    assert known["shape"]["f2"] == 0.9 and known["generate"]["judge"] == "fake"
    write_evaluation(tmp_path, {"shape": {"f2": 0.5}})
    known = json.loads((tmp_path / "evaluation.json").read_text())
    assert known["shape"]["f2"] == 0.5 and known["generate"]["judge"] == "fake"


def test_without_a_judge_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(et, "embedded_judge", lambda: tmp_path / "nowhere")
    assert et.evaluate_text(None, None, None, tmp_path, prompt="x") is None
    assert not (tmp_path / "evaluation.json").exists()
