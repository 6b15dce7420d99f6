"""Wishes about shape, bones and cameras: zero without fault, finite at the limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from adreamer_jax.core import rigid, rotation
from adreamer_jax.objective import regularize
from adreamer_jax.types import Rigid

KEY = jax.random.key(0)
CENTERS = jax.random.uniform(KEY, (5, 3), minval=-0.2, maxval=0.2)
STILL = rigid.identity((3, 5))
POINTS = jax.random.normal(KEY, (20, 3))
UNIT = rotation.normalize(POINTS)
LINE = jnp.tile(jnp.eye(4), (6, 1, 1)).at[:, 0, 3].set(jnp.arange(6.0))


def turned(value):
    """Motions [3, 5] of a vector [3, 5, 6] of turns and shifts."""
    return Rigid(rotation.from_vector(value[..., :3]), value[..., 3:])


REST = jnp.zeros((3, 5, 6))
ALL = jnp.ones((5, 5))

# name -> (loss of one array, an array without fault)
TERMS = {
    "eikonal": (regularize.eikonal_loss, UNIT),
    "smooth": (lambda x: regularize.smooth_loss(x, UNIT), UNIT),
    "symmetry": (
        lambda x: regularize.symmetry_loss(0.05 * x, 0.05 * UNIT[:, 0]),
        UNIT[:, 0],
    ),
    "cycle": (lambda x: regularize.cycle_loss(x, POINTS, jnp.ones(20)), POINTS),
    "delta_skin": (regularize.delta_skin_loss, jnp.zeros((20, 5))),
    "bone_mask": (lambda x: regularize.bone_mask_loss(x, UNIT[:, 0]), UNIT[:, 0]),
    "bone": (regularize.bone_surface_loss, jnp.array([-0.5, -0.1, 0.0])),
    "tear": (
        lambda x: regularize.tear_loss(
            x - 1.5, jnp.full((3, 20), 2.0), most=1.5, width=0.05
        ),
        jnp.full(20, 2.5),
    ),
    "bone_smooth": (
        lambda x: regularize.bone_smooth_loss(turned(x), STILL, CENTERS),
        REST,
    ),
    "camera_prior": (regularize.camera_prior_loss, jnp.zeros((6, 6))),
    "camera_acceleration": (regularize.camera_acceleration_loss, LINE),
    "motion_size": (lambda x: regularize.motion_size_loss(turned(x), CENTERS), REST),
    "motion_rank": (lambda x: regularize.motion_rank_loss(turned(x), CENTERS), REST),
    "gauge": (lambda x: regularize.gauge_loss(turned(x), CENTERS), REST),
    "neighbor": (lambda x: regularize.neighbor_loss(turned(x), CENTERS, ALL), REST),
}


@pytest.mark.parametrize("name", TERMS)
def test_faultless_is_zero_and_faults_cost(name):
    loss, good = TERMS[name]
    both = jax.jit(jax.value_and_grad(loss))
    value, gradient = both(good)
    assert value == pytest.approx(0.0, abs=1e-6)
    assert np.all(np.isfinite(gradient))
    value, gradient = both(good + 0.5 * jax.random.normal(KEY, good.shape))
    assert value > 1e-3
    assert np.all(np.isfinite(gradient)) and np.any(gradient)


def test_the_eikonal_loss_survives_a_vanishing_slope():
    flat = jnp.zeros((4, 3))
    value, gradient = jax.value_and_grad(regularize.eikonal_loss)(flat)
    assert value == 1.0 and np.all(np.isfinite(gradient))


def test_symmetry_does_not_look_far_from_the_surface():
    far = regularize.symmetry_loss(jnp.array([0.5]), jnp.array([0.9]))
    assert far == 0
    assert regularize.symmetry_loss(
        jnp.array([-5.0]), jnp.array([5.0])
    ) == pytest.approx(0.2)


def test_skin_entropy_wants_one_bone_a_point():
    loss = lambda w: regularize.skin_entropy_loss(w, jnp.ones(len(w)))
    assert loss(jnp.eye(4)) == 0
    assert loss(jnp.full((3, 4), 0.25)) == pytest.approx(np.log(4), rel=1e-5)
    for weights in (jnp.eye(4), jnp.zeros((2, 4)), jnp.full((3, 4), 0.25)):
        assert np.all(np.isfinite(jax.grad(loss)(weights)))


def test_bones_ellipsoids_should_fill_the_shape():
    distance = jnp.array([[0.0, 9.0], [50.0, 2.0], [1e6, 1e6]])
    density = regularize.bone_density(distance)
    np.testing.assert_allclose(density, [1.0, np.exp(-1.0), 0.0], atol=1e-6)
    occupied = jnp.array([1.0, 1.0, 0.0])
    filled = regularize.bone_skin_loss(occupied, occupied)
    assert filled == pytest.approx(0.0, abs=1e-3)
    assert regularize.bone_skin_loss(1 - occupied, occupied) > 5
    loss = lambda d: regularize.bone_skin_loss(regularize.bone_density(d), occupied)
    assert np.all(np.isfinite(jax.grad(loss)(distance)))
    # the shape is a fact here: no gradient
    assert not np.any(jax.grad(regularize.bone_skin_loss, 1)(density, occupied))
    assert not np.any(jax.grad(regularize.bone_mask_loss, 1)(density, occupied))


def test_bones_may_be_anywhere_inside():
    loss = regularize.bone_surface_loss
    assert loss(jnp.array([-9.0, 0.005])) == 0  # within the slack
    assert loss(jnp.array([0.41, 0.31])) == pytest.approx(0.1 * 0.5, rel=1e-5)


def test_only_matter_that_tears_gives_way():
    sdf = jnp.array([-0.2, -0.2, 0.2, -0.2])
    # a knee, a bridge in one of two poses, space that tears, what is pressed together
    stretch = jnp.array([[1.4, 1.0, 3.0, 0.1], [1.4, 2.5, 3.0, 0.1]])

    def loss(sdf, stretch):
        return regularize.tear_loss(sdf, stretch, most=1.5, width=0.01)

    value, (shape, motion) = jax.value_and_grad(loss, argnums=(0, 1))(sdf, stretch)
    assert value == pytest.approx(20.0 / 4, rel=1e-4)
    np.testing.assert_allclose(shape, [0.0, -25.0, 0.0, 0.0], atol=1e-4)
    np.testing.assert_array_equal(motion, 0.0)


def test_smooth_bones_pay_for_angle_and_path():
    turn = REST.at[..., 1].set(0.3)
    about_center = turned(turn)
    fixed = CENTERS - rotation.rotate(
        about_center.rotation, jnp.broadcast_to(CENTERS, (3, 5, 3))
    )
    motion = about_center.replace(translation=fixed)
    loss = regularize.bone_smooth_loss(STILL, motion, CENTERS)
    # twice the sine of half the angle stands for the angle
    assert loss == pytest.approx(0.1 * 2 * np.sin(0.15), rel=1e-3)
    shift = STILL.replace(translation=jnp.ones((3, 5, 3)))
    assert regularize.bone_smooth_loss(STILL, shift, CENTERS) == pytest.approx(
        3**0.5, rel=1e-5
    )


def test_straight_cameras_do_not_accelerate_and_few_frames_cannot():
    assert regularize.camera_acceleration_loss(LINE) == 0
    curved = LINE.at[:, 0, 3].set(jnp.arange(6.0) ** 2)
    assert regularize.camera_acceleration_loss(curved) == pytest.approx(4.0)
    # once around in fifteen frames, about a point beside the origin
    angle = 2 * jnp.pi * jnp.arange(15) / 15
    turn = rotation.to_matrix(rotation.from_vector(angle[:, None] * jnp.eye(3)[1]))
    shift = turn @ jnp.array([0.3, 0.1, -0.2]) + jnp.array([0.0, 0.0, 3.0])
    orbit = jnp.broadcast_to(jnp.eye(4), (15, 4, 4))
    orbit = orbit.at[:, :3, :3].set(turn).at[:, :3, 3].set(shift)
    assert regularize.camera_acceleration_loss(orbit) == pytest.approx(0.0, abs=1e-9)
    assert regularize.camera_acceleration_loss(orbit[::-1].at[7:].set(orbit[7])) > 0.01
    for few in (LINE[:2], LINE[:1]):
        value, gradient = jax.value_and_grad(regularize.camera_acceleration_loss)(few)
        assert value == 0 and np.all(np.isfinite(gradient))


def test_the_gauge_sees_a_common_shift_and_turn_but_no_wriggling():
    shift = REST.at[..., 3].set(0.2)
    assert regularize.gauge_loss(turned(shift), CENTERS) > 0.03
    turn = REST.at[..., 2].set(0.2)
    assert regularize.gauge_loss(turned(turn), CENTERS) > 0.03
    # two bones that go opposite ways have no common part
    pair = jnp.array([[1.0, 0, 0], [-1.0, 0, 0]])
    apart = Rigid(rigid.identity((1, 2)).rotation, 0.1 * pair[None])
    assert regularize.gauge_loss(apart, pair) == pytest.approx(0.0, abs=1e-8)


def test_neighbors_agree_when_they_move_as_one_body():
    one = turned(
        jnp.broadcast_to(jnp.array([0.3, -0.2, 0.5, 0.1, 0.4, 0.2]), (3, 5, 6))
    )
    assert regularize.neighbor_loss(one, CENTERS, ALL) == pytest.approx(0.0, abs=1e-8)
    apart = turned(REST.at[:, 0, 3].set(0.2))
    near, far = CENTERS, 100.0 * CENTERS
    assert regularize.neighbor_loss(apart, near, ALL) > 1e-3
    assert regularize.neighbor_loss(apart, far, ALL) == pytest.approx(0.0, abs=1e-6)
    alone = rigid.identity((2, 1))
    assert regularize.neighbor_loss(alone, CENTERS[:1], ALL[:1, :1]) == 0


def test_neighbors_without_matter_between_them_may_part():
    apart = turned(REST.at[:, 0, 3].set(0.2))
    free = ALL.at[0].set(0.0).at[:, 0].set(0.0)
    assert regularize.neighbor_loss(apart, CENTERS, free) == pytest.approx(
        0.0, abs=1e-8
    )
    middle = regularize.midpoints(CENTERS)
    np.testing.assert_allclose(middle[1, 3], (CENTERS[1] + CENTERS[3]) / 2)


def around(count, turns=0.25):
    """Cameras at even steps of a part of a turn about the vertical axis."""
    angle = 2 * np.pi * turns * (np.arange(count) / (count - 1) - 0.5)
    cameras = np.tile(np.eye(4), (count, 1, 1))
    cameras[:, :3, :3] = Rotation.from_rotvec(angle[:, None] * [0, 1, 0]).as_matrix()
    cameras[:, 2, 3] = 3.0
    toward = -np.einsum("tij,ti->tj", cameras[:, :3, :3], cameras[:, :3, 3]) / 3.0
    return jnp.asarray(cameras, jnp.float32), toward


def paths(moved):
    """Bones that are carried by [t, bones, 3] and do not turn."""
    still = jnp.tile(jnp.array([1.0, 0.0, 0.0, 0.0]), (*moved.shape[:2], 1))
    return Rigid(still, jnp.asarray(moved, jnp.float32))


def test_a_limb_that_drifts_with_the_camera_is_an_error_of_shape():
    cameras, toward = around(60)
    step = np.arange(60) / 60
    stride = 0.1 * np.sin(2 * np.pi * 4 * step)[:, None, None] * np.ones((1, 5, 3))
    drift = 0.1 * (toward - toward.mean(0))[:, None, :] * np.ones((1, 5, 3))
    loss = lambda moved, seen=cameras: float(
        regularize.parallax_loss(paths(moved), CENTERS, seen)
    )
    size = lambda moved: float(np.mean(np.sum(moved**2, axis=-1)))
    wide = size((toward - toward.mean(0))[:, None])  # the wider, the surer
    assert 0.1 < wide < 1.0
    assert loss(stride) < 0.03 * wide * size(stride)
    assert loss(drift) == pytest.approx(wide * size(drift), rel=0.3)
    assert loss(0.3 + 0.0 * drift) == pytest.approx(0.0, abs=1e-10)
    alone = jnp.tile(cameras[:1], (60, 1, 1))  # who stands still sees no parallax
    assert loss(drift, alone) == pytest.approx(0.0, abs=1e-10)


def test_parallax_does_not_pull_at_the_cameras():
    cameras, toward = around(20)
    moved = 0.1 * toward[:, None, :] * np.ones((1, 5, 3))
    pull = lambda c: regularize.parallax_loss(paths(moved), CENTERS, c)
    assert np.all(np.asarray(jax.grad(pull)(cameras)) == 0.0)
    turn = lambda x: regularize.parallax_loss(paths(jnp.float32(x)), CENTERS, cameras)
    assert turn(moved) > 0


def wandering(key, rank, size=0.1):
    """Shifts [60, 5, 3] of bones that mix so many movements."""
    a, b = jax.random.split(key)
    mixed = jax.random.normal(a, (60, rank)) @ jax.random.normal(b, (rank, 15))
    return np.asarray(size * mixed / jnp.std(mixed)).reshape(60, 5, 3)


def slow_motion_rank(moved, weight=None, floor=0.003, knee=0.3):
    """Weighted sum of singular values, per frame and bone, each round at zero."""
    values = np.linalg.svd(np.asarray(moved, np.float64).reshape(len(moved), -1))[1]
    values /= np.sqrt(moved.shape[0] * moved.shape[1])
    sizes = np.sqrt(values**2 + floor**2)
    if weight is None:
        weight = 1 / (1 + (sizes - floor) / (knee * sizes[0]))
    return np.sum(weight * (sizes - floor)), weight


def test_few_movements_cost_less_than_many_of_the_same_size(key):
    loss = lambda x: regularize.motion_rank_loss(paths(x), CENTERS)
    costs = []
    for rank in (1, 2, 8):
        moved = wandering(key, rank)
        costs.append(float(loss(moved)))
        assert costs[-1] == pytest.approx(slow_motion_rank(moved)[0], rel=1e-3)
        shuffled = moved[np.random.default_rng(0).permutation(60)]
        assert loss(shuffled) == pytest.approx(costs[-1], rel=1e-3)
    assert costs[0] < 0.8 * costs[1] < 0.5 * costs[2]
    few = moved[:7]  # more numbers a frame than frames
    assert loss(few) == pytest.approx(slow_motion_rank(few)[0], rel=1e-3)


def test_rank_counts_a_turn_of_one_as_a_shift_of_three_tenths(key):
    turns = wandering(key, 2)
    motion = turned(jnp.concatenate([turns, jnp.zeros_like(turns)], axis=-1))
    about_itself = Rigid(motion.rotation, jnp.zeros_like(motion.translation))
    found = regularize.motion_rank_loss(about_itself, jnp.zeros((5, 3)))
    assert found == pytest.approx(slow_motion_rank(0.3 * turns)[0], rel=2e-2)


def test_gradient_of_the_rank_is_that_of_its_value_with_the_weights_held(key):
    moved = wandering(key, 3).astype(np.float64)
    loss = lambda x: regularize.motion_rank_loss(paths(x), CENTERS)
    way = np.asarray(jax.random.normal(jax.random.fold_in(key, 1), moved.shape))
    held = slow_motion_rank(moved)[1]
    ahead, behind = (slow_motion_rank(moved + s * 1e-4 * way, held)[0] for s in (1, -1))
    slope = float(jnp.sum(jax.grad(loss)(jnp.asarray(moved, jnp.float32)) * way))
    assert slope == pytest.approx((ahead - behind) / 2e-4, rel=1e-2)


def test_rank_shrinks_small_movements_and_leaves_large_ones(key):
    one, other = jax.random.split(key)
    frames = jax.random.normal(one, (60, 2))
    bones = jax.random.normal(other, (15, 2))
    a, b = jnp.linalg.qr(frames)[0], jnp.linalg.qr(bones)[0]
    made = lambda sizes: (a * sizes @ b.T * np.sqrt(60 * 5)).reshape(60, 5, 3)
    loss = lambda sizes: regularize.motion_rank_loss(paths(made(sizes)), CENTERS)
    swing, shake = jax.grad(loss)(jnp.array([0.1, 0.01]))
    assert swing == pytest.approx(0.24, abs=0.01)  # 1 / (1 + 1 / .3)
    assert 3 * swing < shake < 1


@pytest.mark.parametrize("rank", [0, 1])
def test_rank_of_bones_at_rest_or_all_alike_has_a_gradient(key, rank):
    moved = jnp.asarray(wandering(key, 1)) if rank else jnp.zeros((60, 5, 3))
    loss = lambda x: regularize.motion_rank_loss(paths(x), CENTERS)
    value, slope = jax.value_and_grad(loss)(moved)
    assert value > -1e-6 and bool(value > 1e-3) == bool(rank)
    assert np.all(np.isfinite(slope))
    assert bool(np.any(slope)) == bool(rank)


def test_opacities_should_be_all_or_nothing():
    loss = regularize.opacity_entropy_loss
    assert loss(jnp.array([0.0, 1.0])) < 2e-3
    assert loss(jnp.array([0.5])) == pytest.approx(np.log(2), rel=1e-5)
    assert np.all(np.isfinite(jax.grad(loss)(jnp.array([0.0, 0.5, 1.0]))))


def test_unseen_points_are_called_invisible():
    loss = regularize.hidden_visibility_loss
    assert loss(jnp.full(3, -50.0)) < 1e-6
    assert loss(jnp.zeros(3)) == pytest.approx(np.log(2), rel=1e-5)
    assert jax.grad(loss)(jnp.zeros(1)) > 0
