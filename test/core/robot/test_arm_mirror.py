"""From a joint state to the pose of every link: with an error that is as large as it says."""

import numpy as np
import pytest
from scipy.stats import chi2

from twin_nodes.core.config import build_config
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.robot.joint_reading import JointSample
from twin_nodes.core.robot.mirror import ArmMirror, MirrorConfig
from twin_nodes.core.robot.published import MODELS, published_model


def mirror_of(name='psm_classic', **settings):
    return ArmMirror(published_model(name), build_config(MirrorConfig, settings), arm='PSM1')


def sample(mirror, rng, stamp_ns=1):
    return JointSample(stamp_ns, mirror.chain.sample(rng, 1)[0])


@pytest.mark.parametrize('name', MODELS)
def test_the_links_lead_from_the_base_to_the_tip(name):
    mirror = mirror_of(name)
    mirrored = mirror.update(sample(mirror, np.random.default_rng(1)))
    pose_of = {child: (parent, pose) for parent, child, pose in (*mirror.fixed_edges(), *mirrored.edges)}
    link, base_T_tip = mirror.chain.tip, np.eye(4)
    while link in pose_of:
        link, pose = pose_of[link]
        base_T_tip = pose @ base_T_tip
    np.testing.assert_allclose(base_T_tip, mirrored.base_T_tip, atol=1e-12)


@pytest.mark.parametrize('name', ['psm_classic', 'raven_left'])
def test_the_error_of_the_tip_is_that_of_joints_that_are_off(name):
    """Normalised error squared of 2000 tips within its 99.9 % interval; joints off by σ, of encoder and of slide."""
    rng = np.random.default_rng(2)
    mirror = mirror_of(name, angle_sigma=1e-3, length_sigma=2e-4)
    sigma = np.where(mirror.chain.is_prismatic, 2e-4, 1e-3)
    truth = mirror.chain.middle
    base_T_tip, squares = mirror.chain.forward(truth), []
    for _ in range(2000):
        mirrored = mirror.update(JointSample(1, truth + sigma * rng.normal(size=len(truth))))
        error = pose_error(mirrored.base_T_tip, base_T_tip)
        squares.append(error @ np.linalg.solve(mirrored.covariance, error))
    low, high = chi2.interval(0.999, 6 * len(squares)) / np.array(len(squares))
    assert low < np.mean(squares) < high


def test_a_joint_beside_the_chain_is_shown_once_it_is_told_and_forgotten_at_a_reset():
    mirror = mirror_of()
    assert mirror.others
    joints = sample(mirror, np.random.default_rng(3))
    without = {child for _, child, _ in mirror.update(joints).edges}
    mirror.set_others({name: float('nan') for name in mirror.others})
    assert {child for _, child, _ in mirror.update(joints).edges} == without
    mirror.set_others({name: 0.3 for name in mirror.others})
    assert {child for _, child, _ in mirror.update(joints).edges} > without
    mirror.reset()
    assert {child for _, child, _ in mirror.update(joints).edges} == without


def test_the_shaft_passes_the_centre_that_it_has_learned():
    mirror, rng = mirror_of(), np.random.default_rng(4)
    found = [mirror.update(sample(mirror, rng, 1 + number)).rcm_deviation for number in range(400)]
    assert found[0] is None and found[-1] < 1e-9


def test_a_shaft_beside_the_way_to_the_tip_is_refused():
    model = published_model('psm_classic')
    beside = next(joint.child for joint in model.joints if joint.name in mirror_of().others)
    with pytest.raises(ConfigError, match='does not lie on the way to the tip'):
        mirror_of(shaft_link=beside)
    assert mirror_of(shaft_link='').rcm is None
