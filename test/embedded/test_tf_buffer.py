"""What the buffer answers, against matrices and laws."""

import time

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.duration import Duration
from rclpy.time import Time
from scipy.spatial.transform import Rotation, Slerp
from tf2_ros import Buffer, ConnectivityException, ExtrapolationException, LookupException
from tf_frames import SECOND, as_matrix, at, message, random_rigid, rigid, stamp_ns


@st.composite
def trees(draw):
    """The parent of each frame after the first, whether it is static, and a seed."""
    size = draw(st.integers(2, 12))
    parents = [draw(st.integers(0, child - 1)) for child in range(1, size)]
    static = draw(st.lists(st.booleans(), min_size=size - 1, max_size=size - 1))
    return parents, static, draw(st.integers(0, 2**32 - 1))


def filled(parents, static, seed):
    """A buffer of that tree, moving in the second from 1 to 2, and the pose of each frame in the root at 1 s."""
    rng = np.random.default_rng(seed)
    buffer = Buffer()
    root_T = {0: np.eye(4)}
    edges = []
    for child, (parent, at_rest) in enumerate(zip(parents, static, strict=True), start=1):
        matrix = random_rigid(rng)
        root_T[child] = root_T[parent] @ matrix
        edges.append((parent, child, matrix, at_rest))
    for index in rng.permutation(len(edges)):  # in any order of arrival
        parent, child, matrix, at_rest = edges[index]
        if at_rest:
            buffer.set_transform_static(message(f'f{parent}', f'f{child}', matrix), 'test')
        else:
            buffer.set_transform(message(f'f{parent}', f'f{child}', matrix, 1.0), 'test')
            buffer.set_transform(message(f'f{parent}', f'f{child}', random_rigid(rng), 2.0), 'test')
    return buffer, root_T


@settings(max_examples=60, deadline=None)
@given(trees())
def test_every_pair_of_a_random_tree_is_the_product_of_matrices(tree):
    buffer, root_T = filled(*tree)
    for a in root_T:
        for b in root_T:
            got = as_matrix(buffer.lookup_transform(f'f{a}', f'f{b}', at(1)))
            np.testing.assert_allclose(got, np.linalg.inv(root_T[a]) @ root_T[b], atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(trees(), st.floats(1.0, 2.0), st.data())
def test_chains_compose_and_invert_at_any_time(tree, when, data):
    buffer, root_T = filled(*tree)
    a, b, c = (data.draw(st.sampled_from(sorted(root_T))) for _ in range(3))
    a_T_b, b_T_c, a_T_c, c_T_a = (
        as_matrix(buffer.lookup_transform(f'f{x}', f'f{y}', at(when))) for x, y in ((a, b), (b, c), (a, c), (c, a))
    )
    np.testing.assert_allclose(a_T_c, a_T_b @ b_T_c, atol=1e-12)
    np.testing.assert_allclose(a_T_c @ c_T_a, np.eye(4), atol=1e-12)


@pytest.mark.parametrize('angle', [1e-9, 1e-5, 0.3, 2 * np.pi / 3, 3.1, np.pi])
@pytest.mark.parametrize('fraction', [0.0, 1 / 3, 0.5, 0.999, 1.0])
def test_interpolates_evenly_between_samples(angle, fraction):
    buffer = Buffer()
    axis = np.array([2.0, -1.0, 2.0]) / 3.0
    start, end = rigid(position=(1, 2, 3)), rigid(angle * axis, (3, 2, -1))
    buffer.set_transform(message('a', 'b', start, 5.0), 'test')
    buffer.set_transform(message('a', 'b', end, 5.3), 'test')
    when = Time(nanoseconds=5 * SECOND + round(fraction * 300_000_000))
    got = as_matrix(buffer.lookup_transform('a', 'b', when))
    np.testing.assert_allclose(got[:3, 3], [1 + 2 * fraction, 2, 3 - 4 * fraction], atol=1e-12)
    turned = Rotation.from_matrix(got[:3, :3]).magnitude()
    assert turned == pytest.approx(fraction * angle, abs=1e-7 if angle > 3 else 1e-12)


def test_interpolates_as_scipy_whatever_the_signs_of_the_quaternions():
    rng = np.random.default_rng(1)
    for _ in range(200):
        one, two = random_rigid(rng), random_rigid(rng)
        sent = message('a', 'b', two, 2.0)
        if rng.random() < 0.5:
            q = sent.transform.rotation
            q.x, q.y, q.z, q.w = -q.x, -q.y, -q.z, -q.w
        buffer = Buffer()
        buffer.set_transform(message('a', 'b', one, 1.0), 'test')
        buffer.set_transform(sent, 'test')
        between = Slerp([1.0, 2.0], Rotation.from_matrix([one[:3, :3], two[:3, :3]]))(1.25).as_matrix()
        got = as_matrix(buffer.lookup_transform('a', 'b', at(1.25)))
        np.testing.assert_allclose(got[:3, :3], between, atol=1e-12)


@pytest.mark.parametrize(('when', 'words'), [(0.9, 'into the past.*0.900.*1.000'), (2.1, 'into the future.*2.1.*2.0')])
def test_does_not_extrapolate(when, words):
    buffer = Buffer()
    for seconds in (1.0, 2.0):
        buffer.set_transform(message('a', 'b', seconds=seconds), 'test')
    with pytest.raises(ExtrapolationException, match=words):
        buffer.lookup_transform('a', 'b', at(when))
    with pytest.raises(ExtrapolationException, match=words):
        buffer.lookup_transform('b', 'a', at(when))


def test_one_sample_holds_at_its_own_time_only():
    buffer = Buffer()
    buffer.set_transform(message('a', 'b', seconds=3.0), 'test')
    assert stamp_ns(buffer.lookup_transform('a', 'b', at(3))) == 3 * SECOND
    with pytest.raises(ExtrapolationException, match='the only one'):
        buffer.lookup_transform('a', 'b', at(3.001))


def test_time_zero_means_the_latest_common_time():
    buffer = Buffer()
    for seconds in (1.0, 2.0, 3.0):
        buffer.set_transform(message('a', 'b', rigid(position=(seconds, 0, 0)), seconds), 'test')
    for seconds in (0.5, 2.5):
        buffer.set_transform(message('b', 'c', seconds=seconds), 'test')
    buffer.set_transform_static(message('c', 'd', rigid(position=(0, 1, 0))), 'test')
    got = buffer.lookup_transform('a', 'd', Time())
    assert stamp_ns(got) == 2_500_000_000
    np.testing.assert_allclose(as_matrix(got)[:3, 3], [2.5, 1, 0], atol=1e-12)
    assert buffer.get_latest_common_time('a', 'd').nanoseconds == 2_500_000_000
    assert stamp_ns(buffer.lookup_transform('c', 'd', Time())) == 0
    assert stamp_ns(buffer.lookup_transform('c', 'd', at(99))) == 99 * SECOND


def test_the_same_frame_is_the_identity_even_if_unknown():
    got = Buffer().lookup_transform('nowhere', 'nowhere', at(7))
    np.testing.assert_array_equal(as_matrix(got), np.eye(4))
    assert stamp_ns(got) == 7 * SECOND


def test_samples_live_for_the_cache_time():
    buffer = Buffer(cache_time=Duration(seconds=2.0))
    for step in range(5001):  # 50 s at 100 Hz
        buffer.set_transform(message('a', 'b', seconds=1.0 + 0.01 * step), 'test')
    assert buffer.can_transform('a', 'b', at(49.0))
    assert not buffer.can_transform('a', 'b', at(48.98))
    edge = buffer._edges['b']
    assert len(edge) == 201
    assert len(edge.stamps) < 3 * len(edge) + 512  # expired samples are freed


def test_default_cache_is_ten_seconds():
    buffer = Buffer()
    for seconds in (0.5, 1.0, 11.0):
        buffer.set_transform(message('a', 'b', seconds=seconds), 'test')
    assert buffer.can_transform('a', 'b', at(1.0))
    assert not buffer.can_transform('a', 'b', at(0.9))


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(8)))
def test_order_of_arrival_does_not_matter(order):
    buffer = Buffer()
    for step in order:
        buffer.set_transform(message('a', 'b', rigid(position=(step, 0, 0)), 1.0 + step), 'test')
    for when in (1.0, 3.25, 7.9, 8.0):
        assert as_matrix(buffer.lookup_transform('a', 'b', at(when)))[0, 3] == pytest.approx(when - 1.0)


def test_a_second_sample_of_the_same_stamp_takes_the_place_of_the_first():
    buffer = Buffer()
    for x in (1.0, 2.0):
        buffer.set_transform(message('a', 'b', rigid(position=(x, 0, 0)), 1.0), 'test')
    assert as_matrix(buffer.lookup_transform('a', 'b', at(1)))[0, 3] == 2.0
    assert len(buffer._edges['b']) == 1


def test_an_edge_above_the_common_frame_is_not_needed():
    buffer = Buffer()
    buffer.set_transform(message('world', 'tracker', seconds=1.0), 'test')
    for child in ('tool', 'patient'):
        for seconds in (4.0, 5.0):
            buffer.set_transform(message('tracker', child, seconds=seconds), 'test')
    assert buffer.can_transform('patient', 'tool', at(4.5))


def test_unknown_and_unconnected_frames_are_named():
    buffer = Buffer()
    buffer.set_transform(message('a', 'b'), 'test')
    buffer.set_transform(message('x', 'y'), 'test')
    with pytest.raises(LookupException, match='"tool" does not exist; known frames: a, b, x, y'):
        buffer.lookup_transform('a', 'tool', at(1))
    with pytest.raises(ConnectivityException, match='roots are "a" and "x"'):
        buffer.lookup_transform('b', 'y', at(1))
    possible, reason = buffer.can_transform('b', 'y', at(1), return_debug_tuple=True)
    assert not possible
    assert 'same tree' in reason


def test_full_lookup_goes_through_a_fixed_frame_while_all_moves():
    rng = np.random.default_rng(4)
    buffer = Buffer()
    for child in ('tool', 'patient'):
        for seconds in (1.0, 2.0, 3.0):
            buffer.set_transform(message('world', child, random_rigid(rng), seconds), 'test')
    world_T_tool = as_matrix(buffer.lookup_transform('world', 'tool', at(1.25)))
    patient_T_world = as_matrix(buffer.lookup_transform('patient', 'world', at(2.75)))
    got = buffer.lookup_transform_full('patient', at(2.75), 'tool', at(1.25), 'world')
    np.testing.assert_allclose(as_matrix(got), patient_T_world @ world_T_tool, atol=1e-12)
    assert (got.header.frame_id, got.child_frame_id, stamp_ns(got)) == ('patient', 'tool', 2_750_000_000)
    assert buffer.can_transform_full('patient', at(2.75), 'tool', at(1.25), 'world')
    assert not buffer.can_transform_full('patient', at(2.75), 'tool', at(0.25), 'world')


def test_all_frames_as_yaml_is_yaml():
    buffer = Buffer()
    assert yaml.safe_load(buffer.all_frames_as_yaml()) == []
    for step in range(11):
        buffer.set_transform(message('a', 'b: \'"odd', seconds=1.0 + 0.1 * step), 'tracker')
    buffer.set_transform_static(message('a', 'c'), 'fixed')
    frames = yaml.safe_load(buffer.all_frames_as_yaml())
    moving = frames['b: \'"odd']
    assert (moving['parent'], moving['broadcaster']) == ('a', 'tracker')
    assert moving['rate'] == pytest.approx(11.0)
    assert (moving['oldest_transform'], moving['most_recent_transform']) == (1.0, 2.0)
    assert moving['buffer_length'] == 1.0
    assert frames['c']['parent'] == 'a'
    assert 'Frame c exists with parent a.' in buffer.all_frames_as_string()


def test_ten_thousand_frames_do_not_hang():
    rng = np.random.default_rng(0)
    buffer = Buffer()
    still = np.eye(4)
    for child in rng.permutation(np.arange(1, 10_001)):  # a random tree, children often before their parents
        parent = int(rng.integers(0, child))
        buffer.set_transform(message(f'f{parent}', f'f{child}', still), 'test')
    for child in range(1, 10_001):  # one chain, from the root down
        buffer.set_transform_static(message(f'c{child - 1}', f'c{child}', still), 'test')
    slowest = 0.0
    for a, b in [('f0', 'f10000'), ('f17', 'f9999'), ('c0', 'c1000'), ('c9500', 'c10000')]:
        begin = time.thread_time()
        assert buffer.can_transform(a, b, at(1)) == (b != 'c10000')
        slowest = max(slowest, time.thread_time() - begin)
    assert slowest < 0.01
    with pytest.raises(LookupException, match='more than 1000 frames below the root'):
        buffer.lookup_transform('c0', 'c10000', at(1))
