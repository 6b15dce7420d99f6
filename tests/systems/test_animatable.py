"""The system as a whole: it steps, repeats itself, skips nonsense, and has options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core.camera import orbit
from adreamer_jax.core.optimizer import path_name
from adreamer_jax.run import parallel
from adreamer_jax.systems.animatable import bones_later, group_of, make, spec_of_bones
from configs.extract import get_config
from tests.systems.tiny import FRAMES, SIZE, tiny_clip, tiny_recipe


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def moved(before, after):
    """Whether any number changed."""
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return any(np.any(np.asarray(a) != np.asarray(b)) for a, b in pairs)


def test_six_steps_run_and_every_number_is_finite(tiny, trained):
    state, metrics = trained
    assert int(state.step) == 6 and metrics["skipped"] == 0
    assert all(np.all(np.isfinite(v)) for v in metrics.values())
    for leaf in jax.tree.leaves(state):
        assert np.all(np.isfinite(np.asarray(leaf, np.float64)))
    assert metrics["render/overflow"] == 0
    assert moved(tiny.start.params.field, state.params.field)


def test_the_seed_decides(tiny, trained):
    equal(tiny.walk(tiny.start, 6)[0], trained[0])
    other, _ = tiny.walk(tiny.start, 6, seed=1)
    assert moved(other.params.field, trained[0].params.field)


def test_a_state_that_went_through_a_file_goes_on_as_if_nothing_had_been(tiny, trained):
    half, _ = tiny.walk(tiny.start, 4)
    leaves, tree = jax.tree.flatten(half)
    stored = [np.array(leaf).tobytes() for leaf in leaves]
    loaded = [
        jnp.asarray(np.frombuffer(s, leaf.dtype).reshape(leaf.shape))
        for s, leaf in zip(stored, leaves, strict=True)
    ]
    equal(tiny.walk(jax.tree.unflatten(tree, loaded), 2)[0], trained[0])


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("scene.bones.count", 1, "scene.bones.count must be at least 2, got 1"),
        ("scene.pose.zoom", True, "scene.pose.zoom must have a rate to learn by"),
    ],
)
def test_wrong_settings_are_answered_with_what_to_write(tmp_path, key, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(tiny_recipe(**{key: value}), tiny_clip(), tmp_path)


def test_a_network_of_time_hears_more_of_a_long_clip():
    bones = get_config("paper").scene.bones
    assert [spec_of_bones(bones, n).frequencies for n in (64, 256)] == [6, 8]
    assert spec_of_bones(get_config().scene.bones, 256).frequencies == 6


def test_bones_wait_for_the_rigid_phase(tiny, trained):
    rigid, _ = tiny.walk(tiny.start, 3)
    equal(rigid.params.bones, tiny.start.params.bones)
    assert moved(rigid.params.pose, tiny.start.params.pose)
    state, _ = trained
    assert np.any(state.params.bones.motion)
    assert moved(rigid.params.bones.center, state.params.bones.center)


def test_the_shortest_movement_lasts_as_many_frames_in_long_clips_as_in_short_ones():
    bones = get_config().scene.bones
    short, long = (spec_of_bones(bones, frames) for frames in (60, 240))
    assert (short.terms, short.falloff) == (48, 10.0)
    assert (long.terms, long.falloff) == (192, 40.0)
    bones.terms_per_frame = 2.0  # more than frames tell apart
    assert spec_of_bones(bones, 60).terms == 59
    bones.terms_per_frame = 0.0
    assert spec_of_bones(bones, 60).terms == 1


def test_constants_stay(tiny, trained):
    before, after = tiny.start.params, trained[0].params
    for name in ("center", "axes", "radii"):
        equal(getattr(before.field, name), getattr(after.field, name))
    equal(before.pose.initial, after.pose.initial)


def test_every_parameter_has_a_group_with_a_rate(tiny):
    names = []
    jax.tree_util.tree_map_with_path(
        lambda path, _: names.append(path_name(path)), tiny.start.params
    )
    groups = {group_of(name) for name in names}
    assert groups <= set(tiny.config.optimizer.rates) | {"constant"}
    assert {"table", "network", "motion", "bones", "camera"} <= groups


def test_a_batch_that_is_no_number_is_skipped_and_counted(tiny, trained):
    state, _ = trained
    key = jax.random.key(3)
    batch = tiny.sample(tiny.frozen, key, state.step)
    bad = batch._replace(color=batch.color.at[0, 0].set(jnp.nan))
    bad = bad._replace(mask=jnp.ones_like(batch.mask))  # the bad pixel counts
    after, metrics = tiny.step(state, tiny.frozen, bad, key)
    equal(after.params, state.params)
    equal(after.opt_state, state.opt_state)
    assert metrics["skipped"] == 1 and int(after.step) == 7
    assert not np.isfinite(metrics["loss"])
    on, metrics = tiny.step(after, tiny.frozen, batch, key)
    assert metrics["skipped"] == 1 and moved(on.params.field, after.params.field)


def test_pictures_meshes_and_the_asset(tiny, trained):
    state, _ = trained
    system, frozen = tiny.system, tiny.frozen
    vertices, faces = system.surface(state, frozen, 5)
    assert len(faces) > 20 and vertices.shape[1] == 3
    assert np.all(vertices[:, 2] > 0)  # in front of the camera
    asset = system.asset(state, frozen)
    count = len(asset.vertices)
    np.testing.assert_allclose(asset.weights.sum(1), 1.0, atol=1e-5)
    assert asset.posed_vertices.shape == (FRAMES, count, 3)
    assert asset.features is None  # nothing has taught them
    assert asset.size == (SIZE, SIZE) and asset.fps == 10.0
    turns = asset.posed_from_rest[..., :3, :3]
    unit = turns @ np.swapaxes(turns, -1, -2)
    np.testing.assert_allclose(unit, np.broadcast_to(np.eye(3), unit.shape), atol=1e-4)
    # the asset's camera sees the moved mesh where the clip's mask is
    pose, k = asset.camera_from_object[5], asset.intrinsics[5]
    seen = asset.posed_vertices[5] @ pose[:3, :3].T + pose[:3, 3]
    pixels = seen[:, :2] / seen[:, 2:] * k[:2] + k[2:]
    rows, columns = np.nonzero(tiny.clip.masks[5])
    middle = np.array([columns.mean(), rows.mean()])
    assert np.linalg.norm(pixels.mean(0) - middle) < 5
    np.testing.assert_allclose(seen.mean(0), vertices.mean(0), rtol=0.2, atol=0.1)

    camera = orbit(*jnp.array([0.4, 0.1, 6.0, 0.6]), size=(10, 14))
    picture = system.render(state, frozen, camera, 5.0)
    assert isinstance(picture.color, np.ndarray) and picture.color.shape == (10, 14, 3)
    assert np.all((picture.mask >= -1e-6) & (picture.mask <= 1 + 1e-6))
    assert np.all(picture.color <= picture.mask[..., None] + 1e-5)  # premultiplied
    (sheet,) = system.preview(state, frozen).values()
    assert sheet.dtype == np.uint8 and sheet.ndim == 3


OPTIONS = {
    "network field, neus, free poses, zoom, linear blending": {
        "scene.field.backbone": "mlp",
        "scene.field.density": "neus",
        "scene.pose.motion": "frames",
        "scene.pose.zoom": True,
        "optimizer.rates.focal": 1e-3,
        "scene.warp.blend": "lbs",
    },
    "networks of time, skinning correction, learned sharpness, no mirror": {
        "scene.bones.motion": "mlp",
        "scene.pose.motion": "mlp",
        "scene.skin.delta": True,
        "scene.field.beta_learned": True,
        "scene.field.symmetric": False,
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_takes_a_step(builder, name):
    changes = OPTIONS[name] | {"run.rigid": 0}
    other = builder(**changes)
    before = other.start.params
    key = jax.random.key(0)
    batch = other.sample(other.frozen, key, other.start.step)
    state, metrics = other.step(other.start, other.frozen, batch, key)
    after = state.params
    assert metrics["skipped"] == 0
    assert all(np.all(np.isfinite(v)) for v in metrics.values())
    assert moved(before.field.shape, after.field.shape)
    assert moved(before.pose.correction, after.pose.correction)
    assert moved(before.bones.motion, after.bones.motion)
    if "scene.skin.delta" in changes:
        assert moved(before.bones.delta, after.bones.delta)
        assert moved(before.field.log_beta, after.field.log_beta)
    if "scene.pose.zoom" in changes:
        assert moved(before.pose.zoom, after.pose.zoom)


@pytest.mark.parametrize(("rigid", "camera"), [(30, 0.0), (0, 1.0)])
def test_cameras_rest_once_bones_move_if_they_had_their_time(rigid, camera):
    config = get_config()
    config.run.steps, config.run.rigid = 100, rigid
    early, late = (bones_later(config, jnp.float32(at)) for at in (0.1, 0.5))
    assert early["camera"] == 1.0
    assert late["camera"] == camera and late["motion"] == 1.0


def test_given_cameras_are_taken(builder):
    from dataclasses import replace

    pose = np.tile(np.eye(4, dtype=np.float32), (FRAMES, 1, 1))
    pose[:, 2, 3] = 4.0
    k = np.array([40.0, 40.0, 16.0, 16.0], np.float32)
    clip = replace(tiny_clip(), camera_from_object=pose, intrinsics=k, cameras="exact")
    given = builder(clip, **{"data.cameras": "given"})
    start = given.start.params.pose
    np.testing.assert_allclose(start.initial[:, :3, :3], pose[:, :3, :3], atol=1e-5)
    np.testing.assert_allclose(start.intrinsics, k)


@pytest.mark.slow
def test_two_devices_agree_on_one_state(tiny):
    results = []
    for count in (1, 2):
        mesh = parallel.make_mesh(count)
        frozen = parallel.place(tiny.frozen, mesh)
        state = parallel.place(parallel.own(tiny.start), mesh)
        key = parallel.hand_out(jax.random.key(5), mesh)
        state, metrics = parallel.make_advance(tiny.system, mesh)(state, frozen, key)
        results.append((state, metrics))
    (one, a), (two, b) = results
    assert len(jax.tree.leaves(two.params)[0].devices()) == 2
    for name in a:  # rays, jitter and ratios are those of the whole batch
        np.testing.assert_allclose(b[name], a[name], rtol=1e-4, atol=1e-7, err_msg=name)
    assert b["loss"] == pytest.approx(float(a["loss"]), rel=1e-6)
    assert int(one.step) == int(two.step) == 1
