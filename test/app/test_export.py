"""`twin export`: the tables and surfaces of a bag, as other tools read them."""

import csv

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from visualization_msgs.msg import MarkerArray

from twin_nodes.app.bench.replay_room import START_NS, write_room_bag
from twin_nodes.app.export import export
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.simulate.room import DRILL, Room, RoomConfig
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.io.bags.qos import OfferedQos
from twin_nodes.io.bags.writer import BagWriter
from twin_nodes.io.meshes import read_surface
from twin_nodes.io.recordings.pose_csv import read_pose_csv
from twin_nodes.ros.clouds import surface_marker


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    folder = tmp_path_factory.mktemp('bag') / 'bag'
    write_room_bag(folder, seconds=1.0)
    return folder


@pytest.mark.parametrize('form', ['tum', 'csv'])
def test_poses_come_back_as_they_were(bag, tmp_path, form):
    assert export(bag, form, topics=('/drill/measured_cp',), output=tmp_path) == 0
    table = read_pose_csv(tmp_path / f'drill_measured_cp.{form}')
    room = Room(RoomConfig(seed=1))
    truth = [pose for frame in range(60) if (pose := room.measure(frame)[1][DRILL]) is not None]
    assert len(table.poses) == len(truth)
    np.testing.assert_allclose(table.poses, truth, atol=1e-12)
    assert table.stamps_ns[0] == START_NS


def test_csv_has_a_heading_and_all_topics(bag, tmp_path):
    export(bag, 'csv', output=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {'drill_measured_cp.csv', 'patient_measured_cp.csv'}
    with (tmp_path / 'patient_measured_cp.csv').open() as stream:
        assert next(csv.reader(stream)) == ['t', 'x', 'y', 'z', 'qx', 'qy', 'qz', 'qw']


def test_surfaces_become_vtk_that_is_closed(tmp_path):
    vertices, triangles = superellipsoid(np.zeros(3), np.full(3, 0.02), exponent=1.0)
    marker = surface_marker(1, 'anatomy', 'facial nerve', 0, vertices, triangles, (1.0, 1.0, 1.0, 1.0))
    with BagWriter(tmp_path / 'bag') as writer:
        topic = writer.add_topic('/anatomy/surface', 'visualization_msgs/msg/MarkerArray', qos=(OfferedQos(),))
        writer.write(topic, START_NS, serialize_message(MarkerArray(markers=[marker])), publish_time_ns=START_NS)
    export(tmp_path / 'bag', 'vtk', output=tmp_path / 'vtk')
    surface = read_surface(tmp_path / 'vtk' / 'facial_nerve.vtk', unit='m')
    assert surface.is_watertight and len(surface.triangles) == len(triangles)


def test_says_what_it_cannot_write(bag, tmp_path):
    with pytest.raises(ConfigError, match='none of tum, csv, vtk'):
        export(bag, 'xls', output=tmp_path)
    with pytest.raises(InputError, match='no poses or numbers on /saw'):
        export(bag, 'tum', topics=('/saw',), output=tmp_path)
    with pytest.raises(InputError, match='no anatomy/surface'):
        export(bag, 'vtk', output=tmp_path)
