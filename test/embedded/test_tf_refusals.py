"""What must not go into the buffer, and what must not come out."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tf2_ros import Buffer, ExtrapolationException, InvalidArgumentException, LookupException, TransformException
from tf_frames import at, message, numbers, rigid

UNIT = (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('index', range(7))
def test_nan_and_inf(value, index):
    pose = [0.0, 0.0, 0.0, *UNIT]
    pose[index] = value
    buffer = Buffer()
    with pytest.raises(InvalidArgumentException, match='drill_node sends NaN or Inf for "b"'):
        buffer.set_transform(numbers('a', 'b', pose), 'drill_node')
    assert buffer.all_frames_as_yaml() == '[]'


def test_inf_and_its_opposite_do_not_cancel():
    with pytest.raises(InvalidArgumentException, match='NaN or Inf'):
        Buffer().set_transform(numbers('a', 'b', (math.inf, -math.inf, 0.0, *UNIT)), 'test')


def usable_position(pose):
    """The position that was sent where it may be sent, else zero."""
    return [x if abs(x) < 1e150 else 0.0 for x in pose[:3]]


@settings(max_examples=300)
@given(st.lists(st.floats(), min_size=14, max_size=14), st.floats(1.0, 2.0))
def test_whatever_is_sent_nothing_but_finite_numbers_come_out(values, when):
    buffer = Buffer()
    for parent, child, pose in (('a', 'b', values[:7]), ('b', 'c', values[7:])):
        for seconds in (1.0, 2.0):
            try:
                buffer.set_transform(numbers(parent, child, pose, seconds), 'test')
            except InvalidArgumentException:
                buffer.set_transform(numbers(parent, child, (*usable_position(pose), *UNIT), seconds), 'test')
    for target, source in (('a', 'c'), ('c', 'a')):
        got = buffer.lookup_transform(target, source, at(when)).transform
        assert all(map(math.isfinite, (got.translation.x, got.translation.y, got.translation.z)))
        assert got.rotation.w**2 + got.rotation.x**2 + got.rotation.y**2 + got.rotation.z**2 == pytest.approx(1.0)


@pytest.mark.parametrize(
    'quaternion', [(0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.006), (0.0, 0.0, 0.0, 0.994), (1e100, 0.0, 0.0, 0.0)]
)
def test_what_is_not_a_rotation(quaternion):
    with pytest.raises(InvalidArgumentException, match='quaternion for "b" whose length is'):
        Buffer().set_transform(numbers('a', 'b', (0.0, 0.0, 0.0, *quaternion)), 'test')


def test_a_quaternion_nearly_of_length_one_is_brought_to_it():
    buffer = Buffer()
    buffer.set_transform(numbers('a', 'b', (0.0, 0.0, 0.0, 0.0, 0.602, 0.0, 0.8)), 'test')
    q = buffer.lookup_transform('a', 'b', at(1)).transform.rotation
    assert q.y**2 + q.w**2 == pytest.approx(1.0, abs=1e-15)
    assert q.y / q.w == pytest.approx(0.602 / 0.8)


@pytest.mark.parametrize(
    ('parent', 'child', 'words'),
    [
        ('', 'b', 'without frame_id'),
        ('/', 'b', 'without frame_id'),
        ('a', '', 'without child_frame_id'),
        ('a', 'a', 'in itself'),
        ('/a', 'a', 'in itself'),
    ],
)
def test_names_that_say_nothing(parent, child, words):
    with pytest.raises(InvalidArgumentException, match=words):
        Buffer().set_transform(message(parent, child), 'test')


def test_a_slash_is_taken_off_when_set_and_refused_when_asked():
    buffer = Buffer()
    buffer.set_transform(message('/a', '/b'), 'test')
    assert buffer.can_transform('a', 'b', at(1))
    with pytest.raises(InvalidArgumentException, match='ask for "b"'):
        buffer.lookup_transform('a', '/b', at(1))
    with pytest.raises(InvalidArgumentException, match='must not be empty'):
        buffer.lookup_transform('', 'b', at(1))


@pytest.mark.parametrize('static', [False, True])
def test_a_second_parent(static):
    buffer = Buffer()
    put = buffer.set_transform_static if static else buffer.set_transform
    put(message('tracker', 'tool', rigid(position=(1, 0, 0))), 'tracker_node')
    with pytest.raises(InvalidArgumentException, match=r'parent "tracker" .from tracker_node.; sim .* "world"'):
        put(message('world', 'tool', seconds=2.0), 'sim')
    assert buffer.lookup_transform('tracker', 'tool', at(1)).transform.translation.x == 1.0
    assert not buffer.can_transform('world', 'tool', at(1))


@pytest.mark.parametrize('length', [2, 3, 50])
def test_a_loop(length):
    buffer = Buffer()
    for index in range(length - 1):
        buffer.set_transform(message(f'f{index}', f'f{index + 1}'), 'test')
    with pytest.raises(InvalidArgumentException, match=f'bad would close a loop of frames: f0 → f{length - 1} →'):
        buffer.set_transform(message(f'f{length - 1}', 'f0'), 'bad')
    assert buffer.can_transform('f0', f'f{length - 1}', at(1))


@pytest.mark.parametrize(('first', 'was'), [('set_transform', 'moving'), ('set_transform_static', 'static')])
def test_a_frame_both_at_rest_and_moving(first, was):
    buffer = Buffer()
    second = {'set_transform': 'set_transform_static', 'set_transform_static': 'set_transform'}[first]
    getattr(buffer, first)(message('a', 'b'), 'one')
    with pytest.raises(InvalidArgumentException, match=f'is {was} .from one.; two sends it as'):
        getattr(buffer, second)(message('a', 'b'), 'two')


def test_a_static_frame_sent_again_moves_to_its_new_place():
    buffer = Buffer()
    for x in (1.0, 2.0):
        buffer.set_transform_static(message('a', 'b', rigid(position=(x, 0, 0))), 'test')
    assert buffer.lookup_transform('a', 'b', at(0)).transform.translation.x == 2.0


def test_a_sample_older_than_the_cache():
    buffer = Buffer()
    buffer.set_transform(message('a', 'b', seconds=100.0), 'test')
    buffer.set_transform(message('a', 'b', seconds=90.0), 'test')
    with pytest.raises(InvalidArgumentException, match=r'too old: the newest is of 100\.000000000'):
        buffer.set_transform(message('a', 'b', seconds=89.9), 'test')


def test_clear_forgets_what_moves_and_keeps_what_is_static():
    buffer = Buffer()
    buffer.set_transform(message('world', 'tool', seconds=100.0), 'test')
    buffer.set_transform_static(message('tool', 'tip'), 'test')
    buffer.clear()
    with pytest.raises(LookupException, match='"world" does not exist'):
        buffer.lookup_transform('world', 'tip', at(100))
    assert buffer.can_transform('tool', 'tip', at(100))
    buffer.set_transform(message('other', 'tool', seconds=1.0), 'test')  # an older time and another parent
    assert buffer.can_transform('other', 'tip', at(1))


def test_an_edge_put_in_later_is_seen_by_a_lookup_that_failed_before():
    buffer = Buffer()
    buffer.set_transform(message('b', 'c'), 'test')
    assert not buffer.can_transform('a', 'c', at(1))
    buffer.set_transform(message('a', 'b'), 'test')
    assert buffer.can_transform('a', 'c', at(1))


def test_wrong_types_are_said():
    buffer = Buffer()
    with pytest.raises(TypeError, match='time must have nanoseconds'):
        buffer.lookup_transform('a', 'b', 1.0)
    with pytest.raises(TypeError, match='a frame name is a str'):
        buffer.lookup_transform(None, 'b', at(1))


def test_all_reasons_are_transform_exceptions():
    for reason in (LookupException, ExtrapolationException, InvalidArgumentException):
        assert issubclass(reason, TransformException)
