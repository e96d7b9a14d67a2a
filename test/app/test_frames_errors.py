"""The errors in the tree of frames: matched to edges by pose, told at a point, the costliest named."""

import numpy as np
import pytest

from twin_nodes.app.frames import Tree, _point, as_records
from twin_nodes.app.frames_errors import Errors, chain_lines, chain_record, default_point
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.covariance import square_root
from twin_nodes.core.geometry.se3 import inverse, make_transform, rotation_exp

POSES = {
    ('world', 'tracker'): make_transform(np.eye(3), [0.0, 0.0, 1.0]),
    ('tracker', 'drill'): make_transform(rotation_exp([0.1, 0.2, 0.3]), [0.1, 0.0, -1.0]),
    ('drill', 'drill_tip'): make_transform(np.eye(3), [0.0, 0.0, -0.15]),
    ('tracker', 'patient'): make_transform(rotation_exp([0.5, 0.0, 0.1]), [-0.1, 0.1, -1.2]),
    ('patient', 'anatomy'): make_transform(rotation_exp([0.0, 1.0, 0.0]), [0.05, 0.0, -0.08]),
}
SIGMAS = {'drill': (1e-4, 1e-3), 'drill_tip': (5e-5, 0.0), 'patient': (1e-4, 2e-4), 'anatomy': (2e-4, 1e-4)}


def covariance(child):
    position, rotation = SIGMAS[child]
    return np.diag([position**2] * 3 + [rotation**2] * 3)


@pytest.fixture
def errors():
    found = Errors()
    for (parent, child), pose in POSES.items():
        if child in SIGMAS:  # some before their edge
            found.add_pose(parent, 100, pose, covariance(child))
        found.add_edge(parent, child, 100, pose)
    found.settle()
    return found


def test_the_sigma_of_a_point_is_that_of_drawn_chains(errors):
    """20,000 chains drawn from the covariances: their RMS is known to 0.4 %, and the chain is of first order."""
    rng, point = np.random.default_rng(0), np.array([0.0, 0.01, 0.02, 1.0])
    drawn = {}
    for (_, child), pose in POSES.items():
        error = rng.normal(size=(20_000, 6)) @ square_root(covariance(child)).T if child in SIGMAS else np.zeros((1, 6))
        drawn[child] = make_transform(rotation_exp(error[:, 3:]) @ pose[:3, :3], pose[:3, 3] + error[:, :3])
    there = inverse(drawn['anatomy']) @ inverse(drawn['patient']) @ drawn['drill'] @ drawn['drill_tip'] @ point
    spread = np.sqrt(((there[:, :3] - there[:, :3].mean(axis=0)) ** 2).sum(axis=1).mean())
    chain, unknown = errors.chain('anatomy', 'drill_tip', point[:3])
    assert chain.sigma == pytest.approx(spread, rel=0.02) and unknown == []
    assert sum(cost.share for cost in chain.costs) == pytest.approx(1.0)
    assert chain.worst.name == 'patient → anatomy'  # 0.35 mm of position, the largest


def test_each_edge_is_told_at_the_point(errors):
    lever = np.hypot(1e-4 * np.sqrt(3.0), 1e-3 * np.sqrt(2.0) * 0.15)  # 150 mm of drill, 1 mrad about each axis
    sigma, rotation = errors.sigma_at('drill', 'drill_tip', np.zeros(3))
    assert sigma == pytest.approx(lever, rel=1e-6) and rotation == pytest.approx(1e-3 * np.sqrt(3.0))
    assert errors.sigma_at('tracker', 'drill_tip', np.zeros(3)) is None
    errors.tell('anatomy', 'drill_tip', np.zeros(3))
    costs = {cost.name: cost.sigma for cost in errors.chain('anatomy', 'drill_tip', np.zeros(3))[0].costs}
    assert errors.sigma_at('anatomy', 'drill_tip', np.zeros(3))[0] == costs['patient → anatomy']


def test_the_costliest_link_and_those_without_an_error_are_named(errors):
    lines = chain_lines(errors, 'world', 'drill_tip', np.array([0.0, 0.0, 0.02]))
    assert lines[0].startswith('drill_tip at 0, 0, 20 mm in world: σ 0.')
    assert any('world → tracker' in line and 'without a stated error' in line for line in lines)
    assert lines[-1] == 'tracker → drill costs most'
    record = chain_record(errors, 'world', 'drill_tip', np.zeros(3))
    assert record['costs_most'] == 'tracker → drill' and record['without_error'] == ['world → tracker']


def test_a_pose_of_another_instant_or_a_withdrawn_one_states_nothing(errors):
    other = Errors()
    pose = POSES['tracker', 'drill']
    other.add_edge('tracker', 'drill', 100, pose)
    other.add_pose('tracker', 101, pose, covariance('drill'))
    withdrawn = np.zeros((6, 6))
    withdrawn[0, 0] = -1.0
    other.add_pose('tracker', 100, pose, withdrawn)
    other.settle()
    assert other.sigma_at('drill', 'drill', np.zeros(3)) is None


@pytest.mark.parametrize(
    ('start', 'end', 'words'),
    [('anatomy', 'nowhere', "no frame 'nowhere'; there are anatomy"), ('world', 'world', 'same frame'),
     ('world', 'odom', 'different trees')],
)  # fmt: skip
def test_no_way_is_said(errors, start, end, words):
    errors.add_edge('map', 'odom', 1, np.eye(4))
    with pytest.raises(InputError, match=words):
        errors.chain(start, end, np.zeros(3))


def test_the_clock_of_a_tool_is_that_of_its_tracker(errors):
    errors.add_status('tracker: tool drill', {'tool': 'drill'})
    errors.add_status('tracker: clock', {'mode': 'synchronise', 'offset_s': '0.0371', 'sigma_ms': '0.2'})
    assert errors.offset('drill') == 'offset 37.1 ± 0.20 ms' and errors.offset('anatomy') == ''
    errors.add_status('tracker: clock', {'mode': 'device', 'offset_s': '0.0', 'sigma_ms': '0'})
    assert errors.offset('drill') == 'clock device'


def test_the_usual_point_is_a_tip_in_the_anatomy():
    assert default_point(['world', 'drill_tip', 'anatomy']) == ('anatomy', 'drill_tip')
    assert default_point(['tracker', 'camera_optical']) == ('tracker', 'camera_optical')
    assert default_point(['world', 'tracker']) == ('', '')


def test_points_are_millimetres():
    assert _point('0,0,-12.5') == (0.0, 0.0, -0.0125)
    for text in ('1,2', 'a,b,c', 'nan,0,0'):
        with pytest.raises(InputError, match='expected x,y,z'):
            _point(text)


def test_records_hold_sigma_and_no_age_of_what_is_fixed(errors):
    tree = Tree()
    header = type('Header', (), {'frame_id': 'drill', 'stamp': type('Stamp', (), {'sec': 0, 'nanosec': 100})})
    edge = type('Edge', (), {'header': header, 'child_frame_id': 'drill_tip'})
    tree.add(type('Message', (), {'transforms': [edge]}), static=True, now_ns=10)
    (record,) = as_records(tree, errors, 'drill_tip', np.zeros(3))
    assert record['age_s'] is None and record['sigma_m'] == pytest.approx(5e-5 * np.sqrt(3.0))
