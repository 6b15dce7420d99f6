"""Tracked points: there and back, exact where the motion is known, clear refusals."""

import json

import numpy as np
import pytest

from adreamer_jax.core.shape import Places, points_at
from adreamer_jax.core.zbuffer import project
from adreamer_jax.run import track as tr
from tests.run.capsule import make_asset, make_clip, make_system


@pytest.fixture(scope="module")
def asset():
    return make_asset()


@pytest.fixture(scope="module")
def mesh(asset):
    return tr.from_asset(asset)


def visible(mesh, frame, count=30):
    """Pixels well inside the outline of a frame, and the places behind them."""
    height, width = mesh.size
    grid = np.mgrid[2 : height - 2 : 2, 2 : width - 2 : 2].reshape(2, -1)[::-1].T
    pixels = grid + np.array([0.37, 0.61])
    places, found = tr.cast(mesh, frame, pixels, reach=0.0)
    hit = project(
        points_at(mesh.vertices[frame], mesh.faces, places), mesh.intrinsics[frame]
    )
    keep = found & (np.linalg.norm(hit - pixels, axis=1) < 1e-6)
    return pixels[keep][:count], Places(places.face[keep], places.weight[keep])


def test_the_asset_is_seen_through_its_cameras(asset, mesh):
    camera = asset.camera_from_object[1]
    expected = asset.posed_vertices[1] @ camera[:3, :3].T + camera[:3, 3]
    np.testing.assert_allclose(mesh.vertices[1], expected, atol=1e-6)


def test_points_stay_where_they_were_marked_in_their_own_frame(mesh):
    pixels, _ = visible(mesh, 2)
    assert len(pixels) >= 20
    tracks = tr.carry(mesh, 2, pixels, reach=2.0)
    np.testing.assert_allclose(tracks[2], pixels, atol=1e-6)


def test_points_go_where_their_place_on_the_surface_goes(mesh):
    pixels, places = visible(mesh, 0)
    tracks = tr.carry(mesh, 0, pixels, reach=2.0)
    for frame, (vertices, intrinsics) in enumerate(
        zip(mesh.vertices, mesh.intrinsics, strict=True)
    ):
        there = project(points_at(vertices, mesh.faces, places), intrinsics)
        wanted = there[: len(pixels)]
        np.testing.assert_allclose(tracks[frame], wanted, atol=1e-9)


def test_there_and_back_again(mesh):
    pixels, _ = visible(mesh, 0)
    there = tr.carry(mesh, 0, pixels, reach=2.0)[1]
    back = tr.carry(mesh, 1, there, reach=2.0)[0]
    # the few that turn out of sight between the frames are cast on another place
    assert np.median(np.linalg.norm(back - pixels, axis=1)) < 1e-6


def test_a_near_miss_takes_the_outline_and_a_far_one_nothing(mesh):
    pixels, _ = visible(mesh, 0, count=10_000)
    left = pixels[:, 0].min()
    edge = pixels[pixels[:, 0].argmin()]
    near, far = edge - [1.0, 0], edge - [left - 0.5, 0]
    tracks = tr.carry(mesh, 0, np.stack([near, far]), reach=2.0)
    assert np.linalg.norm(tracks[0, 0] - edge) < 2.0
    assert np.isnan(tracks[:, 1]).all()


def test_a_frame_without_surface_has_no_tracks(mesh):
    aside = mesh._replace(vertices=mesh.vertices + np.array([50.0, 0, 0]))
    assert np.isnan(tr.carry(aside, 0, np.array([[9.0, 9.0]]), reach=5.0)).all()


def test_the_job_writes_every_frame(asset, tmp_path):
    clip, system = make_clip(asset), make_system(asset)
    points = tmp_path / "points.json"
    points.write_text('{"frames": {"1": [[28, 24], [1, 1]], "3": [[30.5, 25]]}}')
    path = tr.track(system, None, None, clip, str(points), tmp_path)
    content = json.loads(path.read_text())
    assert path == tmp_path / "track.json"
    assert set(content) == {"1", "3"}
    assert set(content["1"]) == {"0", "1", "2", "3", "4"}
    assert content["1"]["1"][0] == pytest.approx([28, 24], abs=0.2)
    assert content["1"]["0"][1] is None  # nothing is near that corner
    assert content["3"]["3"][0] == pytest.approx([30.5, 25], abs=0.2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "must name a JSON file"),
        ("{", "must be JSON"),
        ("[1, 2]", "at least one frame"),
        ('{"frames": {}}', "at least one frame"),
        ('{"frames": {"x": [[1, 2]]}}', "numbers from 0 to 4"),
        ('{"frames": {"5": [[1, 2]]}}', "numbers from 0 to 4"),
        ('{"frames": {"-1": [[1, 2]]}}', "numbers from 0 to 4"),
        ('{"frames": {"1": [1, 2]}}', "pairs of finite numbers"),
        ('{"frames": {"1": [[1, 2, 3]]}}', "pairs of finite numbers"),
        ('{"frames": {"1": [[1, NaN]]}}', "pairs of finite numbers"),
        ('{"frames": {"1": [["a", 2]]}}', "pairs of finite numbers"),
        ('{"frames": {"1": [[1], [1, 2]]}}', "pairs of finite numbers"),
        ('{"frames": {"1": []}}', "pairs of finite numbers"),
        ('{"frames": {"1": [[58, 2]]}}', "lie in the picture"),
    ],
)
def test_bad_points_are_refused_in_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "points.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=sentence) as caught:
        tr.read_points(path, 5, (48, 57))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
