"""Carving: the swept volume, independence of the rate, exactness of distance and surface, paths that must not join."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.carving import Carver
from twin_nodes.core.anatomy.carving_config import BurrConfig, CarvingConfig
from twin_nodes.core.anatomy.carving_volume import EDGE, CarvedVolume
from twin_nodes.core.anatomy.carving_voxels import voxelise
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import interpolate, make_transform, rotation_exp, transform_points
from twin_nodes.core.simulate.room import Room, RoomConfig

H = 0.0005
SIZE = 40
SURE = np.eye(6) * 1e-10
MS = 1_000_000
START_NS = 1_000_000_000


def block(spacing=(H, H, H), rotation=(0.0, 0.0, 0.0), mirrored=False, size=SIZE):
    """A block of label 1 with a slab of label 2 in its lower third."""
    labels = np.ones((size,) * 3, np.uint8)
    labels[:, :, : size // 3] = 2
    affine = np.eye(4)
    affine[:3, :3] = rotation_exp(rotation) @ np.diag(spacing)
    if mirrored:
        affine[:3, 0] *= -1.0
    affine[:3, 3] = [0.01, -0.02, 0.03]
    return LabelVolume(labels, affine)


def centres(volume):
    index = np.indices(volume.voxels.shape).reshape(3, -1).T
    return transform_points(volume.anatomy_T_index, index)


def at(volume, fraction):
    """A point of the volume by fractions of its size."""
    return transform_points(volume.anatomy_T_index, [np.asarray(fraction) * (np.array(volume.voxels.shape) - 1)])[0]


def capsule_distance(points, start, end):
    way = end - start
    t = np.clip((points - start) @ way / max(way @ way, 1e-300), 0.0, 1.0)
    return np.linalg.norm(points - start - t[:, None] * way, axis=1)


fractions = st.tuples(*[st.floats(-0.1, 1.1) for _ in range(3)])


@settings(max_examples=40, deadline=None)
@given(start=fractions, end=fractions, radius=st.floats(0.0003, 0.003), turn=st.tuples(*[st.floats(-2, 2)] * 3),
       mirrored=st.booleans())  # fmt: skip
def test_the_voxels_whose_centre_the_ball_has_covered_are_gone(start, end, radius, turn, mirrored):
    volume = CarvedVolume(block((H, 1.3 * H, 0.8 * H), turn, mirrored, size=24))
    start, end = at(volume, start), at(volume, end)
    removal = volume.ball(start, end, radius)
    distance = capsule_distance(centres(volume), start, end)
    gone = volume.voxels.ravel() >= 128
    clear = abs(distance - radius - EDGE) > 1e-12
    np.testing.assert_array_equal(gone[clear], (distance <= radius + EDGE)[clear])
    assert sorted(removal.indices) == np.flatnonzero(gone).tolist()
    assert sum(removal.counts.values()) == gone.sum() == volume.removed


def path_of(rate_hz, knots, *, seconds):
    """Samples of a path of straight moves between knots at 10 Hz, seen at a rate; stamps are whole nanoseconds."""
    stamps = np.round(np.arange(0, seconds + 1e-9, 1.0 / rate_hz) * 1e9).astype(np.int64)
    for stamp in stamps.tolist():
        knot, rest = divmod(stamp, 100 * MS)
        if knot + 1 < len(knots):
            yield START_NS + stamp, interpolate(knots[knot], knots[knot + 1], rest / (100 * MS))
        elif rest == 0:
            yield START_NS + stamp, knots[knot]


def carve(burr, knots, rate_hz, origin):
    carver = Carver(CarvingConfig(burr=burr), CarvedVolume(origin))
    doubtful = 0
    for stamp, pose in path_of(rate_hz, knots, seconds=0.1 * (len(knots) - 1)):
        doubtful += carver.add(stamp, pose, SURE).removal.doubtful
    return carver.volume, doubtful


knot_sets = st.lists(
    st.tuples(st.tuples(*[st.integers(4, 28)] * 3), st.tuples(*[st.floats(-0.15, 0.15)] * 3)), min_size=2, max_size=5
)


@settings(max_examples=25, deadline=None)
@given(knots=knot_sets, shape=st.sampled_from(['ball', 'cylinder']), whole=st.booleans())
def test_10_30_and_100_hz_take_the_very_same_voxels(knots, shape, whole):
    """Also on knots at voxel centres with a radius of whole voxels, where many centres lie on the border."""
    origin = block(size=32)
    shift = 0.0 if whole else 0.37
    rotation = np.eye(3)
    poses = []
    for place, turn in knots:
        rotation = rotation @ rotation_exp((0.0, 0.0, 0.0) if whole else turn)
        index = np.array(place, float) + shift
        if poses:  # at most 8 mm from the last one: no gap
            last = (poses[-1][:3, 3] - origin.anatomy_T_index[:3, 3]) / H
            index = last + np.clip(index - last, -8.0, 8.0)
        poses.append(make_transform(rotation, index * H + origin.anatomy_T_index[:3, 3]))
    burr = BurrConfig(shape=shape, radius=3 * H if whole else 0.0013, length=4 * H)
    results = [carve(burr, poses, rate, origin) for rate in (10, 30, 100)]
    assert all(doubtful == 0 for _, doubtful in results)
    for volume, _ in results[1:]:
        np.testing.assert_array_equal(volume.voxels, results[0][0].voxels)
        assert volume.hash == results[0][0].hash


@pytest.mark.parametrize('turn', [(0.0, 0.0, 0.0), (0.5, -0.3, 0.2)], ids=['straight', 'turning'])
@pytest.mark.parametrize('mirrored', [False, True], ids=['right', 'left'])
def test_the_voxels_that_a_cylinder_has_covered_are_gone(turn, mirrored):
    volume = CarvedVolume(block(rotation=(0.2, -0.4, 0.9), mirrored=mirrored))
    start = make_transform(rotation_exp([0.3, 0.2, 0.1]), at(volume, (0.4, 0.5, 0.3)))
    end = make_transform(rotation_exp(turn) @ start[:3, :3], start[:3, 3] + [0.002, 0.001, -0.0015])
    axis = np.array([0.6, 0.0, 0.8])
    volume.rod(start, end, 0.0015, 0.004, axis)
    points, inside = centres(volume), np.zeros(volume.voxels.size, bool)
    least = np.full(volume.voxels.size, np.inf)
    for s in np.linspace(0.0, 1.0, 401):
        pose = interpolate(start, end, s)
        local = points - pose[:3, 3]
        along = local @ (pose[:3, :3] @ axis)
        beside = np.sqrt(np.maximum((local**2).sum(axis=1) - along**2, 0.0))
        value = np.maximum.reduce([beside - 0.0015, -along, along - 0.004])
        least = np.minimum(least, value)
    inside = least <= EDGE
    gone = volume.voxels.ravel() >= 128
    assert not (inside & ~gone).any()  # every sampled instant lies within the sweep
    assert (least[gone & ~inside] < 2e-5).all()  # the rest was covered between two sampled instants
    distance = volume.cavity_distance(points[::7])
    near = np.abs(least[::7]) < 0.4 * volume.band
    outside = near & (least[::7] > 0.0)
    assert outside.any()
    assert (distance[outside] > least[::7][outside] - 0.01 * H).all()  # the norm is never below the greatest part
    assert (distance[near] - np.abs(least[::7][near]) < 1.0 * volume.band).all()


def test_the_removed_volume_tends_to_the_swept_capsule():
    start, end, radius = np.array([0.00313, 0.00522, 0.00471]), np.array([0.00834, 0.00717, 0.00629]), 0.002
    exact = math.pi * radius**2 * np.linalg.norm(end - start) + 4.0 / 3.0 * math.pi * radius**3
    errors = []
    for spacing in (4e-4, 2e-4, 1e-4):
        size = round(0.012 / spacing)
        volume = CarvedVolume(LabelVolume(np.ones((size,) * 3, np.uint8), np.diag([spacing] * 3 + [1.0])))
        volume.ball(start, end, radius)
        errors.append(abs(volume.removed * volume.voxel_volume / exact - 1.0))
    assert errors[-1] < 0.001 and errors[0] < 0.02


def wander(volume, steps, seed=3):
    """A path from above into the block and about in it."""
    rng = np.random.default_rng(seed)
    way = np.cumsum(rng.normal(0.0, 0.0006, (steps, 3)), axis=0) + at(volume, (0.5, 0.5, 0.95))
    way[:, 2] -= np.linspace(0.0, 0.012, steps)
    return way


def test_distance_is_exact_and_the_same_however_it_was_reached():
    volume, again = CarvedVolume(block()), CarvedVolume(block())
    way, radius = wander(volume, 30), 0.0017
    pairs = list(pairwise(way))
    for start, end in pairs:
        volume.ball(start, end, radius)
    for start, end in reversed(pairs):
        again.ball(start, end, radius)
    np.testing.assert_array_equal(volume._field, again._field)
    points = centres(volume)
    truth = np.min([capsule_distance(points, start, end) for start, end in pairs], axis=0) - radius
    found = volume.cavity_distance(points)
    step = 2.0 * volume.band / 65535
    np.testing.assert_allclose(found, np.clip(truth, -volume.band, volume.band), atol=2.0 * step)


def test_bricks_remeshed_on_the_way_are_those_of_a_full_recompute():
    volume = CarvedVolume(block())
    way = wander(volume, 40)
    for start, end in pairwise(way):
        volume.ball(start, end, 0.0017)
    assert {label for label, _ in volume.surface.meshes} == {1, 2}
    for (label, brick), mesh in volume.surface.meshes.items():
        fresh = volume.surface.mesh(label, brick)
        np.testing.assert_array_equal(mesh.triangles, fresh.triangles)
        np.testing.assert_array_equal(mesh.vertices_local, fresh.vertices_local)
    last = way[-1]
    assert volume.ball(last, last, 0.0017).indices.size == 0  # already gone
    assert volume.surface.take_changes()


@pytest.mark.parametrize('mirrored', [False, True], ids=['right', 'left'])
def test_the_surface_is_closed_and_lies_on_the_cavity(mirrored):
    """A ball in the middle of a block of one brick: outer walls and cavity, all closed, the right way round."""
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[3:27, 3:27, 3:27] = 1
    affine = block(mirrored=mirrored).anatomy_T_index
    volume = CarvedVolume(LabelVolume(labels, affine))
    centre = at(volume, (0.5, 0.5, 0.5))
    volume.ball(centre, centre, 0.0021)
    keys = [(1, (i, j, k)) for i in range(2) for j in range(2) for k in range(2)]
    assert set(volume.surface.take_changes()) == set(keys) and not volume.surface.take_changes()
    corners = volume.surface.corners(keys).reshape(-1, 3)
    vertices, index = np.unique(np.round(corners / 1e-9).astype(np.int64), axis=0, return_inverse=True)
    surface = make_surface('left', vertices * 1e-9, index.reshape(-1, 3))
    assert surface.is_watertight
    cube = (24 * H) ** 3
    assert surface.volume == pytest.approx(cube - 4.0 / 3.0 * math.pi * 0.0021**3, rel=0.02)
    inner = np.linalg.norm(surface.vertices - centre, axis=1)
    inner = inner[inner < 0.004]
    np.testing.assert_allclose(inner, 0.0021, atol=0.2 * H)


def test_a_lost_drill_never_carves_a_jump():
    carver = Carver(CarvingConfig(burr=BurrConfig(radius=0.001)), CarvedVolume(block()))
    one, two = (make_transform(np.eye(3), at(carver.volume, (x, 0.5, 0.5))) for x in (0.2, 0.8))
    carver.add(START_NS, one, SURE)
    step = carver.add(START_NS + 20 * MS, two, SURE)
    assert step.code == 'CARVE_PATH_BROKEN' and 'jumped' in step.reason
    middle = tuple(np.array(carver.volume.voxels.shape) // 2)
    assert carver.volume.voxels[middle] < 128
    near = make_transform(np.eye(3), two[:3, 3] + [0.001, 0.0, 0.0])
    step = carver.add(START_NS + 400 * MS, near, SURE)
    assert step.code == 'CARVE_PATH_BROKEN' and '0.38 s' in step.reason
    carver.stop('switched off')
    step = carver.add(START_NS + 420 * MS, near, SURE)
    assert step.reason == 'switched off'
    assert carver.add(START_NS + 440 * MS, near, SURE).code == 'OK'


@pytest.mark.parametrize(
    ('change', 'code'),
    [
        ({'pose': np.full((4, 4), np.nan)}, 'NOT_FINITE'),
        ({'pose': np.diag([1.0, 1.0, -1.0, 1.0])}, 'NOT_A_ROTATION'),
        ({'covariance': np.full((6, 6), np.nan)}, 'NOT_FINITE'),
        ({'covariance': np.eye(6) * 1e-5}, 'CARVE_UNSURE'),
        ({'stamp': START_NS}, 'STAMP_DUPLICATE'),
        ({'stamp': START_NS - 1}, 'STAMP_BACKWARD'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_what_must_not_carve_does_not(change, code):
    carver = Carver(CarvingConfig(), CarvedVolume(block()))
    pose = make_transform(np.eye(3), at(carver.volume, (0.5, 0.5, 0.9)))
    carver.add(START_NS, pose, SURE)
    before = carver.volume.hash
    given_ = {'stamp': START_NS + 10 * MS, 'pose': pose, 'covariance': SURE} | change
    with pytest.raises(InputError) as caught:
        carver.add(given_['stamp'], given_['pose'], given_['covariance'])
    assert caught.value.code == code and carver.volume.hash == before


@pytest.mark.parametrize('seed', range(4))
def test_the_nearest_structure_is_measured_from_the_flat_faces_of_a_cylinder(seed):
    rng = np.random.default_rng(seed)
    burr = BurrConfig(shape='cylinder', radius=0.0015, length=0.004)
    carver = Carver(CarvingConfig(burr=burr, depth_reach=0.006), CarvedVolume(block()))
    volume = carver.volume
    pose = make_transform(rotation_exp(rng.normal(size=3)), at(volume, rng.uniform(0.3, 0.7, 3)))
    carver.add(START_NS, pose, SURE)
    left = np.argwhere((volume.voxels > 0) & (volume.voxels < 128))
    places = (left @ volume.anatomy_T_index[:3, :3].T + volume.anatomy_T_index[:3, 3] - pose[:3, 3]) @ pose[:3, :3]
    rim = np.hypot(places[:, 0], places[:, 1]) - burr.radius
    face = np.abs(places[:, 2] - burr.length / 2) - burr.length / 2
    truth = np.hypot(np.maximum(rim, 0.0), np.maximum(face, 0.0)) + np.minimum(np.maximum(rim, face), 0.0)
    labels = volume.voxels[tuple(left.T)]
    for depth in carver.depths(pose):
        assert depth.nearest == pytest.approx(truth[labels == depth.label].min(), abs=1e-12)
    assert min(depth.nearest for depth in carver.depths(pose)) > 0.0  # what it touched is gone


def test_labels_and_depths_are_told():
    carver = Carver(CarvingConfig(burr=BurrConfig(radius=0.001)), CarvedVolume(block()))
    volume = carver.volume
    pose = make_transform(np.eye(3), at(volume, (0.5, 0.5, 0.7)))
    carver.add(START_NS, pose, SURE)
    depths = {depth.label: depth for depth in carver.depths(pose)}
    border = volume.anatomy_T_index[2, 3] + (SIZE // 3 - 0.5) * H  # the upper face of label 2
    assert depths[2].ahead == pytest.approx(pose[2, 3] - 0.001 - border, abs=1e-9)
    assert depths[2].nearest == pytest.approx(pose[2, 3] - 0.001 - (border - H / 2), abs=H)
    assert 0.0 < depths[1].nearest < H and depths[1].ahead < H
    down = pose.copy()
    down[2, 3] = border + 0.0005
    step = carver.add(START_NS + 100 * MS, down, SURE)
    assert set(step.removal.counts) == {1, 2}
    assert volume.counts[1] + volume.counts[2] == volume.removed
    assert math.isnan(next(d for d in carver.depths(pose) if d.label == 1).ahead)  # all bone ahead is gone


def test_reset_brings_all_back():
    origin = block()
    carver = Carver(CarvingConfig(), CarvedVolume(origin))
    carver.add(START_NS, make_transform(np.eye(3), at(carver.volume, (0.5, 0.5, 0.5))), SURE)
    assert carver.volume.removed
    carver.reset()
    np.testing.assert_array_equal(carver.volume.voxels, origin.labels)
    assert not carver.volume.removed and not carver.volume.hash and not carver.volume.surface.meshes
    assert carver.volume.cavity_distance([at(carver.volume, (0.5, 0.5, 0.5))])[0] == carver.volume.band


def test_a_volume_that_cannot_be_carved_is_refused():
    affine = np.eye(4)
    sheared = affine.copy()
    sheared[0, 1] = 0.1
    for labels, matrix, match in (
        (np.zeros((3, 3), np.uint8), affine, 'no volume'),
        (np.full((3, 3, 3), 200, np.uint8), affine, '127'),
        (np.zeros((3, 3, 3), np.uint8), sheared, 'sheared'),
        (np.zeros((3, 3, 3), np.uint8), affine * np.nan, 'NaN'),
    ):
        with pytest.raises(InputError, match=match):
            CarvedVolume(LabelVolume(labels, matrix))
    with pytest.raises(ConfigError, match='unit vector'):
        BurrConfig(axis=(0.0, 0.0, 2.0))


def test_surfaces_become_voxels_of_their_volume():
    room = Room(RoomConfig())
    surfaces = [make_surface(name, *room.structures[name]) for name in ('bone', 'nerve')]
    volume = voxelise(surfaces, 0.001)
    counts = volume.counts()
    assert (counts[1] + counts[2]) * 1e-9 == pytest.approx(surfaces[0].volume, rel=0.01)
    assert counts[2] * 1e-9 == pytest.approx(surfaces[1].volume, rel=0.1)
    with pytest.raises(ConfigError, match='voxels of the structures'):
        voxelise(surfaces, 1e-6)
    vertices, triangles = room.structures['bone']
    with pytest.raises(InputError, match='not closed'):
        voxelise([make_surface('open', vertices, triangles[1:])], 0.001)
