"""The simulated hand: it reaches what it sees, yields to forces, and moves rings with one arm."""

import numpy as np
import pytest

from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.simulate.peg_transfer import RIGHT, Board
from twin_nodes.core.simulate.servo_hand import Goal, ServoHand, ServoHandConfig, circle_goals, peg_goals

TICK_NS = 5_000_000
STILL = np.zeros(3)


def work(hand, start, ticks, *, force=None, each=None):
    """Let the hand move a tip that follows it at once; returns the tip."""
    tip = np.array(start, dtype=float)
    last = hand.position.copy()
    for number in range(ticks):
        now_ns = number * TICK_NS
        hand.see(now_ns, tip.copy())
        pushed = force(tip) if force is not None else STILL
        tip += hand.step(now_ns, pushed) - last
        last = hand.position.copy()
        if each is not None:
            each(tip)
        if hand.finished:
            break
    return tip


def test_reaches_its_points_in_order():
    goals = [Goal(np.array([0.02, 0.0, 0.0]), 0.1), Goal(np.array([0.02, 0.01, 0.0]), 0.5, 0.2)]
    hand = ServoHand(goals, ServoHandConfig(), np.random.default_rng(0))
    assert hand.jaw == 0.1
    tip = work(hand, [0.0, 0.0, 0.0], 2000)
    assert hand.finished
    assert hand.jaw == 0.5
    assert np.linalg.norm(tip - goals[1].position) < 0.0015


def test_is_never_faster_than_it_may_be():
    config = ServoHandConfig(tremor=0.0)
    hand = ServoHand([Goal(np.array([0.3, 0.0, 0.0]), 0.1)], config, np.random.default_rng(0))
    places = []
    work(hand, [0.0, 0.0, 0.0], 400, each=lambda tip: places.append(tip.copy()))
    speeds = np.linalg.norm(np.diff(places, axis=0), axis=1) / (TICK_NS * 1e-9)
    assert speeds.max() <= config.max_speed + 1e-9


def test_a_force_keeps_it_out_and_patience_ends_it():
    hand = ServoHand([Goal(np.array([0.0, 0.0, -0.01]), 0.1)], ServoHandConfig(patience=3.0), np.random.default_rng(0))
    depths = []

    def wall(tip):
        depths.append(-tip[2])
        return np.array([0.0, 0.0, max(-tip[2], 0.0) * 4000.0])

    work(hand, [0.0, 0.0, 0.01], 4000, force=wall)
    assert hand.finished
    assert 0.0 < max(depths) < 0.005


def test_does_nothing_before_it_sees_anything():
    hand = ServoHand([Goal(np.ones(3), 0.1)], ServoHandConfig(tremor=0.0), np.random.default_rng(0))
    hand.step(0, STILL)
    assert not hand.step(TICK_NS, STILL).any()


def test_one_arm_moves_the_rings():
    board = Board(2)
    hand = ServoHand(peg_goals(2), ServoHandConfig(), np.random.default_rng(3))

    def act(tip):
        board.update({RIGHT: make_transform(np.eye(3), tip)}, {RIGHT: hand.jaw})

    work(hand, [0.0, -0.02, 0.046], 20_000, each=act)
    assert hand.finished
    assert board.transferred() == 2
    assert board.dropped == 0


def test_a_circle_is_round():
    goals = circle_goals([0.1, 0.0, 0.05], 0.02)
    away = [np.linalg.norm(goal.position - [0.1, 0.0, 0.05]) for goal in goals]
    assert away == pytest.approx([0.02] * len(goals))
