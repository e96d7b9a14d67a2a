"""A registration of a base while the arm moves: what is missing, the result, the clocks, and a base that was pushed."""

import numpy as np
import pytest
from robot_motion import reported, smooth_motion

from twin_nodes.core.calibration.tie_session import TieSessionConfig
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import random_transform
from twin_nodes.core.robot.base_pairing import pair_joints
from twin_nodes.core.robot.base_registration import BaseRegistrationConfig
from twin_nodes.core.robot.base_session import BaseSession, body_T_tip
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model

CHAIN = SerialChain(published_model('psm_classic'))
QUICK = {'least': 6.0, 'assess': 3.0, 'improve': 3.0}
START_NS = 1_700_000_000_000_000_000
STEP_NS = 40_000_000


class Trial:
    """An arm, a body on its tip, and a session that hears both."""

    def __init__(self, seed=1, *, offset=None, late_ns=0, still=(), seconds=24.0, **settings):
        rng = np.random.default_rng(seed)
        self.positions = smooth_motion(CHAIN, rng, seconds, step=STEP_NS * 1e-9)
        self.positions[:, list(still)] = CHAIN.middle[list(still)]
        true = self.positions.copy()
        if offset is not None:
            true[:, offset[0]] += offset[1]
        self.base, self.body = random_transform(rng), random_transform(rng, max_distance=0.05)
        self.seen = self.base @ reported(CHAIN, true, rng, position=2e-4, rotation=2e-3) @ self.body
        self.late_ns = late_ns
        config = TieSessionConfig(**({'clocks_agree': late_ns == 0} | QUICK | settings))
        self.session = BaseSession(CHAIN, config, BaseRegistrationConfig())
        self.updates = []

    def play(self, *, until=lambda update: False):
        for index, (q, pose) in enumerate(zip(self.positions, self.seen, strict=True)):
            stamp_ns = START_NS + index * STEP_NS
            self.session.add_joints(stamp_ns, q)
            self.updates.append(self.session.add_body(stamp_ns + self.late_ns, pose))
            if until(self.updates[-1]):
                break
        return self.updates[-1]


def test_says_what_is_missing_then_finds_the_base_and_ends():
    trial = Trial()
    update = trial.play()
    words = list(dict.fromkeys(item.message for item in trial.updates))
    assert 'waiting for the joints' in words[0] and any('without a rhythm' in word for word in words)
    assert update.usable and update.done and not update.result.offsets
    error = pose_error(update.result.reference_T_base, trial.base)
    assert np.linalg.norm(error[:3]) < 5e-4
    assert error @ np.linalg.solve(update.result.covariance, error) < 40.0
    tip, covariance = body_T_tip(update.result)
    assert tip == pytest.approx(np.linalg.inv(trial.body), abs=3e-3)
    assert np.linalg.eigvalsh(covariance).min() > 0.0


def test_names_the_joint_that_is_off_and_uses_the_base_all_the_same():
    update = Trial(3, offset=(2, 0.004)).play()
    assert update.usable and [item.joint for item in update.result.offsets] == [2]
    assert update.result.offsets[0].value == pytest.approx(0.004, abs=3e-4)
    assert 'joint 3 (insertion) looks off' in update.message


def test_finds_the_offset_of_the_clocks():
    trial = Trial(4, late_ns=-83_000_000, seconds=40.0)
    update = trial.play(until=lambda item: item.usable)
    assert update.usable
    assert update.offset_ns == pytest.approx(83_000_000, abs=3_000_000)
    assert np.linalg.norm(update.result.reference_T_base[:3, 3] - trial.base[:3, 3]) < 1e-3


def test_asks_for_a_second_axis():
    update = Trial(5, still=(0, 1, 4, 5), seconds=12.0).play()
    assert not update.usable and update.result is None
    assert 'about another axis' in update.message


def test_a_base_that_was_pushed_is_seen_and_registered_anew():
    trial = Trial(6, seconds=40.0)
    half = len(trial.seen) // 2
    trial.seen[half:, :3, 3] += [0.006, 0.0, 0.0]
    trial.base = trial.base.copy()
    trial.base[:3, 3] += [0.006, 0.0, 0.0]
    update = trial.play()
    moved = [item for item in trial.updates if 'has moved by' in item.message]
    assert moved and moved[0].result is None
    assert any(item.done for item in trial.updates[:half])
    assert update.usable and np.linalg.norm(update.result.reference_T_base[:3, 3] - trial.base[:3, 3]) < 1e-3


def test_a_clock_that_jumps_back_begins_anew():
    trial = Trial(7)
    trial.play(until=lambda item: item.usable)
    update = trial.session.add_body(START_NS - 10**10, trial.seen[0])
    assert 'jumped back' in update.message and update.result is None
    with pytest.raises(InputError):
        trial.session.add_body(START_NS, np.full((4, 4), np.nan))


def test_pairs_by_interpolation_and_tells_both_ranges():
    stamps = np.array([0, 10, 20, 300]) * 10**6 + START_NS
    rows = np.array([[0.0], [1.0], [2.0], [30.0]])
    poses = np.tile(np.eye(4), (5, 1, 1))
    at = np.array([-5, 0, 5, 20, 150]) * 10**6 + START_NS
    q, kept = pair_joints(stamps, rows, at, poses, most=10)
    assert q[:, 0].tolist() == [0.0, 0.5, 2.0] and len(kept) == 3
    with pytest.raises(InputError, match=r'joints from .* poses from'):
        pair_joints(stamps, rows, at + 10**12, poses, most=10)
