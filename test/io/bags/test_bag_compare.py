"""Comparing bags: equal ones are equal whatever the times of reception; what differs is named to the field."""

from pathlib import Path

import pytest
from geometry_msgs.msg import PointStamped, TransformStamped
from rclpy.serialization import serialize_message
from std_msgs.msg import Float64MultiArray
from tf2_msgs.msg import TFMessage

from twin_nodes.app.compare import compare
from twin_nodes.core.errors import InputError
from twin_nodes.io.bags.compare import compare_bags
from twin_nodes.io.bags.writer import BagWriter


def point(x: float, frame: str = 'tracker') -> PointStamped:
    message = PointStamped()
    message.header.frame_id = frame
    message.point.x = x
    return message


def edges(*children: str, x: float = 0.0) -> TFMessage:
    message = TFMessage(transforms=[TransformStamped(child_frame_id=child) for child in children])
    message.transforms[0].transform.translation.x = x
    return message


def write(path: Path, rows: list, *, delay_ns: int = 0) -> Path:
    kinds = {PointStamped: ('/point', 'geometry_msgs/msg/PointStamped'), TFMessage: ('/tf', 'tf2_msgs/msg/TFMessage')}
    with BagWriter(path) as writer:
        handles = {kind: writer.add_topic(*names) for kind, names in kinds.items()}
        for index, row in enumerate(rows):
            writer.write(handles[type(row)], 10**9 + index * 1000 + delay_ns, serialize_message(row))
    return path


def test_equal_whatever_the_time_of_reception_and_the_grouping_of_transforms(tmp_path: Path, capsys):
    one = write(tmp_path / 'a', [point(0.1), edges('drill', 'patient'), point(-0.0)])
    other = write(tmp_path / 'b', [edges('drill'), edges('patient'), point(0.1), point(-0.0)], delay_ns=777)
    found = compare_bags(one, other)
    assert not found.differences
    assert found.counts == {'/point': 2, '/tf drill': 1, '/tf patient': 1}
    assert compare(str(one), str(other)) == 0
    assert 'identical: 4 messages on 3 topics' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('rows', 'said'),
    [
        ([point(0.1), point(0.0), edges('drill')], '/point, message 1, point.x: -0.0 and 0.0'),
        ([point(0.1, 'world'), point(-0.0), edges('drill')], '/point, message 0, header.frame_id: tracker and world'),
        ([point(0.1), edges('drill')], '/point, message 1: 2 messages in the first bag, 1 in the second'),
        ([point(0.1), point(-0.0), edges('drill', x=1e-300)], '/tf drill, message 0, transform.translation.x'),
        ([point(0.1), point(-0.0), edges('probe')], '/tf drill, message 0: 1 messages in the first bag, 0 in the sec'),
    ],
)
def test_the_first_difference_of_a_topic_is_named_to_the_field(tmp_path: Path, rows: list, said: str, capsys):
    one = write(tmp_path / 'a', [point(0.1), point(-0.0), edges('drill')])
    found = compare_bags(one, write(tmp_path / 'b', rows))
    assert str(found.differences[0]).startswith(said)
    assert compare(str(one), str(tmp_path / 'b')) == 1
    assert f'differs: {said}' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('values', 'said'),
    [
        ([1.0, 2.5, -0.0, 4.0], 'data[2]: 0.0 and -0.0'),
        ([1.0, 2.5, 0.0], 'data (numbers): 4 float64 and 3 float64'),
    ],
)
def test_of_an_array_the_first_number_that_differs_is_told(tmp_path: Path, values: list, said: str):
    for name, data in (('a', [1.0, 2.5, 0.0, 4.0]), ('b', values)):
        with BagWriter(tmp_path / name) as writer:
            handle = writer.add_topic('/values', 'std_msgs/msg/Float64MultiArray')
            writer.write(handle, 10**9, serialize_message(Float64MultiArray(data=data)))
    (found,) = compare_bags(tmp_path / 'a', tmp_path / 'b').differences
    assert str(found) == f'/values, message 0, {said}'


def test_what_is_no_bag_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match='no bag'):
        compare_bags(tmp_path / 'none', tmp_path / 'none')
