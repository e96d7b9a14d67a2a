"""Models that hang on tf frames: read from markers, placed, greyed and hidden."""

import numpy as np
import pytest
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.app.view import style
from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.framing import frame_scene
from twin_nodes.app.view.messages import model_of
from twin_nodes.app.view.page import IDLE_PERIOD_NS, ViserView
from twin_nodes.app.view.records import Moment
from twin_nodes.app.view.scene_models import model_mesh
from twin_nodes.app.view.state import ViewState
from twin_nodes.core.errors import InputError
from twin_nodes.core.robot.published import published_model
from twin_nodes.ros.peg_markers import board_markers
from twin_nodes.ros.robot_markers import robot_markers, rods

CONFIG = ViewConfig(tools=('PSM1',), port=0, tracking=False, tracker_frame='world')
START_NS = 10**18


def moment(step):
    return Moment(START_NS + step * IDLE_PERIOD_NS, 10**9 + step * IDLE_PERIOD_NS)


def arm_model():
    markers = robot_markers(published_model('psm_classic'), lambda link: f'PSM1_{link}', colour=(0.7, 0.7, 0.8))
    return model_of(markers, topic='PSM1/model')


def test_markers_are_the_shapes_of_the_model():
    shapes = {shape.frame: shape for shape in arm_model()}
    assert shapes['PSM1_roll'].kind == 'cylinder'
    assert shapes['PSM1_roll'].size == pytest.approx((0.0042, 0.4162))
    mesh = model_mesh(shapes['PSM1_roll'])
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx([0.0084, 0.0084, 0.4162], abs=1e-4)
    box = next(shape for shape in model_of(board_markers('world', 2), topic='task/model') if shape.kind == 'box')
    assert np.ptp(model_mesh(box).vertices, axis=0) == pytest.approx(box.size)


def test_links_without_shapes_get_rods():
    bare = published_model('psm_classic')
    bare.shapes = ()
    found = rods(bare)
    assert found and all(shape.kind == 'cylinder' for shape in found)
    for shape in found:
        start, end = (shape.link_T_shape @ [0.0, 0.0, sign * 0.5 * shape.size[1], 1.0] for sign in (-1.0, 1.0))
        assert start[:3] == pytest.approx(np.zeros(3), abs=1e-12)
        assert np.linalg.norm(end[:3]) == pytest.approx(shape.size[1])


@pytest.mark.parametrize('scale', [0.0, -1.0, float('nan')])
def test_refuses_sizes_that_are_none(scale):
    marker = Marker(type=Marker.CUBE)
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = scale
    with pytest.raises(InputError, match='of size'):
        model_of(MarkerArray(markers=[marker]), topic='x')


def poses_at(now, frames, x=0.0):
    pose = np.eye(4)
    pose[0, 3] = x
    return {frame: (pose, now.ros_ns) for frame in frames}


def test_models_follow_their_frames_and_turn_grey():
    state = ViewState(CONFIG)
    state.on_model('PSM1/model', arm_model())
    assert 'PSM1_roll' in state.model_frames()
    now = moment(1)
    state.on_poses(poses_at(now, ['PSM1_roll'], 0.1), 'world', '', now)
    by_frame = {model.shape.frame: model for model in state.picture(now).models}
    roll = by_frame['PSM1_roll']
    assert roll.live and roll.fixed_T_shape[0, 3] == pytest.approx(0.1)
    assert by_frame['PSM1_jaw'].fixed_T_shape is None
    assert not {m.shape.frame: m for m in state.picture(moment(3)).models}['PSM1_roll'].live
    assert frame_scene(state.picture(now), np.array([0.0, 0.0, 1.0])) is None  # no tool yet


def test_page_draws_moves_and_removes_them():
    view = ViserView(CONFIG)
    try:
        state = ViewState(CONFIG)
        state.on_model('PSM1/model', arm_model())
        for step in (1, 2):
            now = moment(step)
            state.on_poses(poses_at(now, ['PSM1', 'PSM1_tip', 'PSM1_roll'], 0.1 * step), 'world', '', now)
            view.render(state.picture(now))
        nodes = view._scene._models._nodes
        node = next(node for node, shape in nodes.values() if shape.frame == 'PSM1_roll')
        assert node.handle.position[0] == pytest.approx(0.2) and node.handle.visible
        late = moment(9)
        view.render(state.picture(late))
        assert tuple(node.handle.color) == style.TOOL_LOST
        state.on_model('PSM1/model', ())
        view.render(state.picture(moment(11)))
        assert not view._scene._models._nodes
    finally:
        view.stop()
