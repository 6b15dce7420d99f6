"""The viewer's page on a server that only remembers what it was given."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from adreamer_jax.run import cli, view
from tests.run.capsule import make_asset


class Handle(SimpleNamespace):
    """A thing on the page: its attributes, and what is called when it changes."""

    def on_update(self, callback):
        self.callback = callback

    on_click = on_update

    def put(self, **values):
        """What a person does."""
        self.__dict__.update(values)
        self.callback(None)


class Page:
    """Stands in for viser's server, scene and gui."""

    def __init__(self):
        self.scene = self.gui = self
        self.things, self.meshes = {}, []

    def set_up_direction(self, direction):
        self.up = direction

    def _add(self, name, **values):
        if "initial_value" in values:
            values["value"] = values["initial_value"]
        self.things[name] = Handle(**values)
        return self.things[name]

    add_slider = add_checkbox = add_button = add_transform_controls = _add

    def add_mesh_trimesh(self, name, mesh):
        self.meshes.append(np.asarray(mesh.vertices))


@pytest.fixture(scope="module")
def asset():
    return make_asset()


@pytest.fixture
def page(asset):
    page = Page()
    page.advance = view.furnish(page, asset)
    return page


def test_a_bones_pose_says_its_motion(asset):
    motion = view.motion_of(asset, *view.gizmo_poses(asset, 3))
    np.testing.assert_allclose(motion, asset.posed_from_rest[3], atol=1e-6)


def test_the_slider_shows_the_models_own_frames(page, asset):
    np.testing.assert_allclose(page.meshes[-1], asset.posed_vertices[0], atol=1e-6)
    page.things["frame"].put(value=4)
    np.testing.assert_allclose(page.meshes[-1], asset.posed_vertices[4], atol=1e-6)
    _, place = view.gizmo_poses(asset, 4)
    np.testing.assert_allclose(page.things["/bones/bone_02"].position, place[2])
    assert page.up == "+y"


def test_a_dragged_bone_takes_its_part_along_until_it_is_undone(page, asset):
    last = page.things["/bones/bone_05"]
    before = page.meshes[-1]
    last.put(position=np.add(last.position, [0.0, 0.5, 0.0]))
    moved = page.meshes[-1] - before
    # blended linearly, a shift of one bone moves each vertex by its weight
    expected = 0.5 * asset.weights[:, 5:6] * [0.0, 1.0, 0.0]
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    page.things["undo dragging"].put()
    np.testing.assert_allclose(page.meshes[-1], before)


def test_it_plays_round_and_round_when_asked(page, asset):
    page.advance()
    assert page.things["frame"].value == 0
    page.things["play"].value = True
    for _ in range(len(asset.posed_vertices) + 1):
        page.advance()
    assert page.things["frame"].value == 1


def test_bones_can_be_hidden(page):
    page.things["bones"].put(value=False)
    assert page.things["/bones/bone_00"].visible is False


def test_without_viser_one_sentence_says_what_to_install(asset, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ImportError) as raised:
        view.view(asset)
    assert "pip install viser" in cli.sentence(raised.value)


def test_it_serves_until_it_is_stopped(asset, monkeypatch):
    started = []

    def server(**address):
        page = Page()
        page.stop = lambda: started.append("stopped")
        started.append(address)
        return page

    def stopped_by_hand(seconds):
        raise KeyboardInterrupt

    viser = SimpleNamespace(ViserServer=server)
    monkeypatch.setitem(sys.modules, "viser", viser)
    monkeypatch.setattr(view.time, "sleep", stopped_by_hand)
    view.view(asset, port=4321)
    (address, end) = started
    assert address["host"] == "127.0.0.1" and address["port"] == 4321
    assert end == "stopped"
