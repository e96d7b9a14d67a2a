"""Semi-autonomous completion: off by default, only in an outage, only what is held, and never in doubt."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.guidance.task_state import TaskConfig, TaskRecogniser, TaskView
from twin_nodes.core.telesurgery.assistance import Assistance, Goal, Scene, Step
from twin_nodes.core.telesurgery.command import Command
from twin_nodes.core.telesurgery.compensation_config import AssistanceConfig, FollowerConfig
from twin_nodes.core.telesurgery.follower import Follower
from twin_nodes.core.telesurgery.geofence import Geofence, HalfSpace
from twin_nodes.core.telesurgery.modes import Mode

S = 1_000_000_000
DT = 5_000_000
PEG = (-0.05, 0.03, 0.0)
ON = AssistanceConfig(enabled=True, begin_after=0.2)


def carrying(held=True, goal=Goal(PEG)):  # noqa: B008 - frozen
    recogniser = TaskRecogniser(TaskConfig())
    for index in range(60):
        view = TaskView(0.001, 0.0, held, 0.06, math.inf) if held else TaskView(0.05, 1.0, held, 0.06, math.inf)
        estimate = recogniser.update(S + index * 50_000_000, view)
    return Scene(estimate, held, goal)


class Robot:
    """A follower whose leader moves an object in a line, until the link is lost."""

    def __init__(self, config=ON, fence=None):
        self.follower = Follower(FollowerConfig(assistance=config), (0.0, 0.0, 0.01), jaw=0.0, fence=fence)
        self.now_ns, self.number = S, 0
        self.scene = carrying()
        self.track = []

    def step(self, *, linked=True, action=''):
        self.now_ns += DT
        if linked:
            self.number += 1
            x = 0.005 * math.sin(0.001 * self.number)
            asks = 1 if action else 0
            self.request = getattr(self, 'request', 0) + asks
            self.action = action or getattr(self, 'action', '')
            command = Command(
                self.number, self.now_ns, (x, 0.0, 0.01), jaw=0.0, request=self.request, action=self.action
            )
            self.follower.receive((command,), self.now_ns, publisher='leader')
        self.follower.assistance.observe(self.now_ns, self.scene)
        point = self.follower.tick(self.now_ns)
        self.track.append(point)
        return point

    def connect(self):
        for index in range(600):
            self.step(action='discard' if index % 100 == 20 and self.follower.mode is Mode.HOLD else '')
        assert self.follower.mode in (Mode.CONNECTED, Mode.DEGRADED)
        return self

    def lose(self, seconds):
        for _ in range(round(seconds / 0.005)):
            point = self.step(linked=False)
        return point


def test_without_it_the_robot_stands():
    robot = Robot(AssistanceConfig()).connect()
    assert not robot.follower.assistance.arm()
    robot.lose(0.2)
    before = robot.track[-1].position
    assert robot.lose(5.0).position == before


def test_not_armed_the_robot_stands():
    robot = Robot().connect()
    robot.lose(0.2)
    before = robot.track[-1].position
    assert robot.lose(5.0).position == before


def test_what_is_held_is_brought_to_its_place_and_let_go():
    robot = Robot().connect()
    assert robot.follower.assistance.arm()
    robot.lose(0.2)
    assert robot.track[-1].speed < 5e-4  # the hold comes first
    point = robot.lose(15.0)
    assert robot.follower.assistance.step is Step.DONE
    assert robot.follower.assistance.completed == 1
    assert point.jaw == 1.0
    assert math.dist(point.position, (*PEG[:2], ON.height)) < 2 * ON.tolerance
    assert min(math.dist(each.position, PEG) for each in robot.track) < 2 * ON.tolerance
    assert max(each.speed for each in robot.track if each.mode is Mode.OUTAGE) <= ON.speed * 1.01
    assert robot.lose(3.0).position == point.position  # one permission, one completion


def test_a_place_for_the_other_arm_is_held():
    robot = Robot()
    robot.scene = carrying(goal=Goal(PEG, release=False))
    robot.connect().follower.assistance.arm()
    point = robot.lose(15.0)
    assert robot.follower.assistance.step is Step.DONE
    assert point.jaw == 0.0
    assert math.dist(point.position, PEG) < 2 * ON.tolerance


def test_the_link_stops_it_at_once_and_only_discard_goes_on():
    robot = Robot().connect()
    robot.follower.assistance.arm()
    robot.lose(3.0)
    assert robot.follower.assistance.running
    for _ in range(60):
        robot.step()
    assert robot.follower.assistance.step is Step.ABORTED
    assert robot.follower.mode is Mode.HOLD
    stood = robot.track[-1].position
    for _ in range(100):
        robot.step(action='replay')
    assert robot.follower.mode is Mode.HOLD
    assert robot.track[-1].position == stood
    for _ in range(3000):
        robot.step(action='discard' if robot.follower.mode is Mode.HOLD else '')
    assert robot.follower.mode in (Mode.CONNECTED, Mode.DEGRADED)
    assert (
        max(math.dist(a.position, b.position) for a, b in zip(robot.track, robot.track[1:], strict=False)) <= 5.001e-4
    )


@pytest.mark.parametrize('doubt', ['lost object', 'divergence', 'silent twin', 'stop', 'fence'])
def test_it_stops_for_any_doubt(doubt):
    fence = Geofence([HalfSpace((-0.03, 0.0, 0.0), (1.0, 0.0, 0.0))]) if doubt == 'fence' else None
    robot = Robot(fence=fence).connect()
    robot.follower.assistance.arm()
    robot.lose(1.5)
    assert robot.follower.assistance.running
    if doubt == 'lost object':
        robot.scene = carrying(held=False)
    elif doubt == 'divergence':
        robot.follower.monitor.update(robot.now_ns, 0.01)
    elif doubt == 'stop':
        robot.follower.assistance.disarm()
    elif doubt == 'silent twin':
        robot.follower.assistance.observe = lambda *_: None
    robot.lose(6.0)
    assert robot.follower.assistance.step is Step.ABORTED
    assert robot.follower.assistance.reason
    stood = robot.track[-1].position
    assert robot.lose(1.0).position == stood


def test_an_empty_hand_completes_nothing():
    robot = Robot()
    robot.scene = carrying(held=False)
    robot.connect().follower.assistance.arm()
    robot.lose(1.0)
    assert robot.follower.assistance.step is Step.OFF


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.sampled_from(['', 'arm', 'stop'])), max_size=60)
)
@settings(max_examples=60, deadline=None)
def test_it_moves_only_when_all_is_well(steps):
    machine = Assistance(ON)
    position, now_ns = (0.0, 0.0, 0.01), S
    armed = False
    for lost, agrees, held, act in steps:
        now_ns += DT
        machine.observe(now_ns, carrying() if held else carrying(held=False))
        if act == 'arm':
            machine.arm()
            armed = True
        elif act == 'stop':
            machine.disarm()
            armed = False
        move = machine.move(now_ns, position, lost=lost, agrees=agrees)
        if move is not None:
            assert armed
            assert lost
            assert agrees
            assert held or machine.step in (Step.RELEASE, Step.RETREAT, Step.DONE)
            assert move.speed <= ON.speed
            gap = math.dist(position, move.target)
            share = min(0.001 / gap, 1.0) if gap else 0.0
            position = tuple(a + share * (b - a) for a, b in zip(position, move.target, strict=True))
