"""`twin metrics`: measures from bags, and a score among several."""

import json

import numpy as np
import pytest
from rclpy.serialization import serialize_message

from twin_nodes.app.bench.replay_room import write_room_bag
from twin_nodes.app.check import inspect
from twin_nodes.app.metrics import measure_bag, print_metrics
from twin_nodes.app.metrics_joints import models_of
from twin_nodes.core.errors import InputError
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.io.bags.qos import OfferedQos
from twin_nodes.io.bags.writer import BagWriter
from twin_nodes.ros.crtk import joint_state


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp('bags')
    for seed in (1, 2):
        write_room_bag(folder / f'trial{seed}', seconds=3.0, seed=seed)
    return [folder / 'trial1', folder / 'trial2']


def test_measures_each_tool_of_a_bag(bags):
    trial = measure_bag(bags[0])
    assert set(trial.motions) == {'/patient/measured_cp', '/drill/measured_cp'}
    drill = trial.motions['/drill/measured_cp']
    assert drill.time == pytest.approx(3.0, abs=0.05)
    assert drill.path_length > trial.motions['/patient/measured_cp'].path_length


def test_scores_trials_among_each_other(bags, capsys):
    assert print_metrics(bags, as_json=True) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line['bag'] for line in lines] == [str(bag) for bag in bags]
    assert all(0.0 <= line['score']['/drill/measured_cp'] <= 1.0 for line in lines)


def test_says_what_the_bag_has_when_a_topic_is_missing(bags):
    with pytest.raises(InputError, match=r'no pose or wrench on /saw/measured_cp; it has /drill/measured_cp'):
        measure_bag(bags[0], topics=('/saw/measured_cp',))


@pytest.fixture(scope='module')
def arm_bag(tmp_path_factory):
    """Joints of an arm whose tip walks 40 mm to and fro by its insertion, with a jaw beside it, and a bad message."""
    path = tmp_path_factory.mktemp('arm') / 'bag'
    chain = SerialChain(published_model('psm_classic'))
    kind = 'sensor_msgs/msg/JointState'
    with BagWriter(path) as writer:
        arm, jaw = (
            writer.add_topic(name, kind, qos=(OfferedQos(),)) for name in ('/PSM1/measured_js', '/PSM1/jaw/measured_js')
        )
        for index in range(400):
            stamp_ns = 10**18 + index * 10_000_000
            q = np.zeros(6)
            q[2] = 0.12 + 0.02 * np.sin(2.0 * np.pi * index / 400.0)
            names = chain.names[: 5 if index == 7 else 6]
            writer.write(arm, stamp_ns, serialize_message(joint_state(stamp_ns, '', names, q[: len(names)])))
            writer.write(jaw, stamp_ns, serialize_message(joint_state(stamp_ns, '', ('jaw',), [0.2])))
    return path


def test_measures_the_tip_of_an_arm_from_its_joints(arm_bag):
    name = next(iter(measure_bag(arm_bag).left_out))
    assert '--model PSM1=psm_classic' in measure_bag(arm_bag).left_out[name]
    for models in (('PSM1=psm_classic',), ('psm_classic',)):
        trial = measure_bag(arm_bag, models=models)
        assert set(trial.motions) == {name} and not trial.left_out
        assert trial.motions[name].path_length == pytest.approx(0.08, rel=0.02)
    assert 'missing' in measure_bag(arm_bag, models=('mtmr',)).left_out[name]
    with pytest.raises(InputError, match="no joints of 'PSM2'; did you mean 'PSM1'"):
        measure_bag(arm_bag, models=('PSM2=psm_classic',))


def test_parts_arms_from_models_with_arguments():
    assert models_of(('PSM1=psm.xacro tool:=420006', 'ecm.xacro side:=left')) == {
        'PSM1': 'psm.xacro tool:=420006',
        '': 'ecm.xacro side:=left',
    }


def test_measures_each_tool_of_a_table_of_poses(tmp_path):
    times = np.arange(200) / 50.0
    rows = [f'{t!r},{0.05 * t!r},0.0,0.1,0,0,0,1,{0.1 * t!r},0.0,0.1,0,0,0,1' for t in times.tolist()]
    names = [f'{arm}_{name}' for arm in ('left', 'right') for name in ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')]
    file = tmp_path / 'trial.csv'
    file.write_text('\n'.join([','.join(['t', *names]), *rows]))
    trial = measure_bag(file)
    assert trial.motions['left'].path_length == pytest.approx(0.05 * times[-1], rel=0.01)
    assert trial.motions['right'].path_length == pytest.approx(0.1 * times[-1], rel=0.01)
    assert set(measure_bag(file, topics=('right',)).motions) == {'right'}
    with pytest.raises(InputError, match="no tool 'rigth'; did you mean 'right'"):
        measure_bag(file, topics=('rigth',))


@pytest.mark.parametrize(
    ('name', 'start', 'reason'),
    [('old.bag', b'#ROSBAG V2.0', 'rosbags-convert --src'), ('a.db3', b'SQLite format 3\0', 'cannot be read')],
)
def test_bags_of_other_forms_are_refused_with_what_to_type(tmp_path, name, start, reason):
    (tmp_path / name).write_bytes(start + bytes(200))
    for look in (measure_bag, inspect):
        with pytest.raises(InputError, match=reason):
            look(tmp_path / name)


@pytest.mark.parametrize(
    ('case', 'told'), [('twice', 'begins anew at its sample 401'), ('outlier', '2 steps faster than 3 m/s')]
)
def test_a_table_begun_anew_or_with_an_outlier_gives_no_figure_without_a_word(tmp_path, capsys, case, told):
    times = np.arange(0.0, 20.0, 0.05)
    rows = np.column_stack(
        [times, 0.1 * np.sin(times), times * 0.01, times * 0.0, np.tile([0.0, 0.0, 0.0, 1.0], (400, 1))]
    )
    if case == 'twice':
        again = rows.copy()
        again[:, 0] += 0.02
        again[:, 1] *= -1.0
        rows = np.vstack([rows, again])
    else:
        rows[200, 1] += 0.5
    path = tmp_path / 'table.csv'
    path.write_text('t,x,y,z,qx,qy,qz,qw\n' + '\n'.join(','.join(f'{cell:.6f}' for cell in row) for row in rows))
    assert print_metrics([path]) == (1 if case == 'twice' else 0)
    assert told in capsys.readouterr().out
