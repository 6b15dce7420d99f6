"""The viewer's page on a server that only remembers what it was given."""

import json
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from adreamer_jax.run import cli, view
from adreamer_jax.run.export import asset_skeleton
from adreamer_jax.run.hand_pose import bent, pose_asset, read_pose
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

    def put_click(self, event):
        """A click on the thing itself."""
        self.callback(event)


def colors_of(mesh):
    """Colors in the file that viser makes of a mesh, which must not be metal."""
    data = mesh.export(file_type="glb")
    count = struct.unpack_from("<I", data, 12)[0]
    told, body = json.loads(data[20 : 20 + count]), data[28 + count :]
    (primitive,) = (p for m in told["meshes"] for p in m["primitives"])
    material = told["materials"][primitive["material"]]["pbrMetallicRoughness"]
    assert material["metallicFactor"] == 0
    accessor = told["accessors"][primitive["attributes"]["COLOR_0"]]
    start = told["bufferViews"][accessor["bufferView"]].get("byteOffset", 0)
    flat = np.frombuffer(body, np.uint8, 4 * accessor["count"], start)
    return flat.reshape(-1, 4)[:, :3] / 255


class Page:
    """Stands in for viser's server, scene and gui."""

    def __init__(self):
        self.scene = self.gui = self
        self.initial_camera = SimpleNamespace()
        self.things, self.meshes, self.colors = {}, [], []

    def set_up_direction(self, direction):
        self.up = direction

    def _add(self, name, *options, **values):
        if "initial_value" in values:
            values["value"] = values["initial_value"]
        self.things[name] = Handle(options=options, **values)
        return self.things[name]

    add_slider = add_checkbox = add_button = _add
    add_dropdown = add_transform_controls = _add

    def add_mesh_trimesh(self, name, mesh):
        self.meshes.append(np.asarray(mesh.vertices))
        self.colors.append(colors_of(mesh))
        self.things[name] = Handle()
        return self.things[name]

    def pick(self, bone):
        self.things["bone"].put(value=f"bone_{bone:02d}")


@pytest.fixture(scope="module")
def asset():
    return make_asset()


@pytest.fixture(scope="module")
def skeleton(asset):
    return asset_skeleton(asset)


@pytest.fixture
def page(asset, skeleton, tmp_path):
    page = Page()
    page.advance = view.furnish(page, asset, skeleton, tmp_path)
    return page


def carrier(skeleton):
    """A bone that hangs on another one and carries a third."""
    parent = skeleton.parent
    return next(b for b in range(6) if parent[b] >= 0 and b in parent)


def turn(gizmo, rotation):
    """Turn a gizmo about where it is, as a hand does."""
    before = Rotation.from_quat(np.roll(gizmo.wxyz, -1))
    gizmo.put(wxyz=np.roll((rotation * before).as_quat(), 1))


def test_the_slider_shows_the_models_own_frames(page, asset):
    np.testing.assert_allclose(page.meshes[-1], asset.posed_vertices[0], atol=1e-6)
    page.things["frame"].put(value=4)
    np.testing.assert_allclose(page.meshes[-1], asset.posed_vertices[4], atol=1e-6)
    assert page.up == "+y"


def test_the_eye_is_on_the_filmed_side_and_sees_all_of_the_model(page, asset):
    camera = page.initial_camera
    toward = camera.position - camera.look_at
    np.testing.assert_allclose(camera.look_at, np.mean(
        [asset.vertices.min(0), asset.vertices.max(0)], axis=0), atol=1e-6)  # fmt: skip
    np.testing.assert_allclose(toward / np.linalg.norm(toward), [0, 0, 1], atol=1e-6)
    diagonal = np.linalg.norm(np.ptp(asset.vertices, axis=0))
    assert 0.6 * diagonal < np.linalg.norm(toward) < diagonal


def test_colors_are_sent_in_linear_light(page, asset):
    ought = view.linear_from_srgb(asset.colors)
    np.testing.assert_allclose(page.colors[-1], ought, atol=0.5 / 255 + 1e-6)


def test_the_gizmo_stands_at_the_joint_of_the_bone_in_the_menu(page, asset, skeleton):
    gizmo, bone = page.things["/gizmo"], carrier(skeleton)
    assert gizmo.visible is False and gizmo.depth_test is False
    page.things["frame"].put(value=3)
    page.pick(bone)
    joint = asset.posed_from_rest[3, bone] @ np.append(skeleton.pivot[bone], 1.0)
    assert gizmo.visible is True
    np.testing.assert_allclose(gizmo.position, joint[:3], atol=1e-6)
    led = asset.weights[:, bone] > 0.5
    spared = asset.weights[:, bone] < 1e-6
    plain = view.linear_from_srgb(asset.colors)
    assert np.abs(page.colors[-1] - plain)[led].max(1).min() > 0.05
    np.testing.assert_allclose(page.colors[-1][spared], plain[spared], atol=0.003)
    page.things["bone"].put(value="none")
    assert gizmo.visible is False


def test_a_turned_bone_takes_along_what_hangs_on_it_until_it_is_undone(
    page, asset, skeleton
):
    bone, before = carrier(skeleton), page.meshes[-1]
    page.pick(bone)
    rotation = Rotation.from_rotvec([0.0, 0.0, 0.6])
    turn(page.things["/gizmo"], rotation)
    joint = asset.posed_from_rest[0, bone] @ np.append(skeleton.pivot[bone], 1.0)
    motion = asset.posed_from_rest[0].copy()
    along = view.hangs_on(skeleton.parent, bone)
    assert 1 < along.sum() < 6
    about = np.eye(4)
    about[:3, :3] = rotation.as_matrix()
    about[:3, 3] = joint[:3] - rotation.apply(joint[:3])
    motion[along] = about @ motion[along]
    np.testing.assert_allclose(page.meshes[-1], bent(asset, motion), atol=1e-6)
    # a second turn starts where the first one ended
    turn(page.things["/gizmo"], rotation.inv())
    unturned = bent(asset, asset.posed_from_rest[0])
    np.testing.assert_allclose(page.meshes[-1], unturned, atol=1e-6)
    turn(page.things["/gizmo"], rotation)
    page.things["undo dragging"].put()
    np.testing.assert_allclose(page.meshes[-1], before)


def test_a_kept_pose_is_what_the_job_pose_makes_of_its_file(
    page, asset, skeleton, tmp_path
):
    page.things["frame"].put(value=2)
    page.pick(carrier(skeleton))
    turn(page.things["/gizmo"], Rotation.from_rotvec([0.2, -0.3, 0.5]))
    (tmp_path / "pose_00.json").write_text("a person's own")
    page.things["keep this pose"].put()
    assert (tmp_path / "pose_00.json").read_text() == "a person's own"
    pose = read_pose(tmp_path / "pose_01.json", bones=6)
    posed = pose_asset(asset, skeleton, pose)
    np.testing.assert_allclose(posed.posed_vertices[0], page.meshes[-1], atol=1e-5)


def test_a_click_picks_the_bone_that_leads_there(page, asset):
    surface = page.meshes[-1]
    for vertex in (5, len(surface) // 2, len(surface) - 1):
        out = surface[vertex] - surface.mean(0)
        click = SimpleNamespace(
            ray_origin=tuple(surface[vertex] + 3 * out), ray_direction=tuple(-2 * out)
        )
        page.things["/model"].put_click(click)
        bone = int(page.things["bone"].value[5:])
        assert asset.weights[vertex, bone] > 0.5 * asset.weights[vertex].max()
        assert page.things["/gizmo"].visible is True


def test_a_click_means_the_near_side():
    surface = np.array([[0.0, 0, 1], [0.0, 0, -1], [0.9, 0, 0]])
    weights = np.eye(3)
    ray = np.array([0.0, 0, 5]), np.array([0.0, 0, -1])
    assert view.led_by(surface, weights, *ray) == 0
    assert view.led_by(surface, weights, -ray[0], -ray[1]) == 1
    # past all of it: the nearest is meant
    ray = np.array([2.0, 0, 5]), np.array([0.0, 0, -1])
    assert view.led_by(surface, weights, *ray) == 2


def test_it_plays_round_and_round_when_asked(page, asset):
    page.advance()
    assert page.things["frame"].value == 0
    page.things["play"].value = True
    for _ in range(len(asset.posed_vertices) + 1):
        page.advance()
    assert page.things["frame"].value == 1


def test_without_viser_one_sentence_says_what_to_install(
    asset, skeleton, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ImportError) as raised:
        view.view(asset, skeleton, tmp_path)
    assert "pip install viser" in cli.sentence(raised.value)


def test_it_serves_until_it_is_stopped(asset, skeleton, monkeypatch, tmp_path):
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
    view.view(asset, skeleton, tmp_path, port=4321)
    (address, end) = started
    assert address["host"] == "127.0.0.1" and address["port"] == 4321
    assert end == "stopped"
