"""Set points in a replay: the same advice as live, whatever the order of arrival."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.pairing import StampedCovariance
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.geometry.ties import Tie
from twin_nodes.core.guidance.advice import Advice
from twin_nodes.core.guidance.advisor import Advisor, AdvisorConfig
from twin_nodes.core.guidance.clearance import Structure
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.setpoints import WAIT_NS, SetpointStream
from twin_nodes.core.simulate.shapes import superellipsoid

MS = 1_000_000
START = 50_000 * MS
PERIOD = 20 * MS
COUNT = 90
COVARIANCE = np.eye(6) * 1e-10


@pytest.fixture(scope='module')
def ball():
    vertices, triangles = superellipsoid(np.zeros(3), np.full(3, 0.01), exponent=1.0)
    return Structure('ball', DistanceGrid.from_surface(make_surface('ball', vertices, triangles), 0.002, 0.02))


def wanted(index):
    return make_transform(np.eye(3), [0.012 * np.sin(0.11 * index), 0.02 + 0.004 * np.sin(0.07 * index), 0.0])


def streams():
    """Set points, patient and tool, the tool three periods late: lists of (stamp, kind, pose) each in order."""
    stamps = [START + index * PERIOD for index in range(COUNT)]
    told = [(stamp, 0, wanted(index)) for index, stamp in enumerate(stamps)]
    patient = [(stamp, 1, np.eye(4)) for stamp in stamps]
    tool = [(stamp, 2, wanted(index - 3)) for index, stamp in enumerate(stamps)]
    return told, patient, tool


def advisor_for(ball, *, ordered, steered=True):
    config = AdvisorConfig(prediction=PredictionConfig(ahead=0.1))
    advisor = Advisor(config, ordered=ordered, steered=steered)
    advisor.set_tip(Tie(0, np.eye(4), COVARIANCE))
    advisor.set_registration(Tie(0, np.eye(4), COVARIANCE))
    advisor.set_structures([ball])
    return advisor


def feed(advisor, messages):
    found = []
    for stamp, kind, pose in messages:
        if kind == 0:
            advisor.steer(stamp, pose)
            found += advisor.drain()
        else:
            add = advisor.add_patient if kind == 1 else advisor.add_tool
            found += add(StampedCovariance(stamp, pose, COVARIANCE))
    return [one for one in found if isinstance(one, Advice)]


@pytest.fixture(scope='module')
def live(ball):
    advisor = advisor_for(ball, ordered=False)
    found = feed(advisor, sorted((item for stream in streams() for item in stream), key=lambda item: item[:2]))
    assert advisor.lag == pytest.approx(0.06, abs=0.01)  # they are used
    return found


@given(st.lists(st.sampled_from([0, 1, 2]), max_size=3 * COUNT), st.permutations([0, 1, 2]))
@settings(max_examples=5, deadline=None)
def test_a_replay_gives_what_live_gave_whatever_the_order_of_arrival(ball, live, order, rest):
    waiting = [list(stream) for stream in streams()]
    messages = [waiting[kind].pop(0) for kind in order if waiting[kind]]
    messages += [item for kind in rest for item in waiting[kind]]
    advisor = advisor_for(ball, ordered=True)
    found = feed(advisor, messages)
    assert [one.stamp_ns for one in found] == [one.stamp_ns for one in live] and len(found) == COUNT
    for one, before in zip(found, live, strict=True):
        np.testing.assert_array_equal(one.predicted, before.predicted)
        np.testing.assert_array_equal(one.covariance, before.covariance)


def test_set_points_change_the_prediction_of_a_replay(ball, live):
    _, patient, tool = streams()
    alone = feed(advisor_for(ball, ordered=True, steered=False), sorted(patient + tool, key=lambda item: item[:2]))
    truth = [wanted(index + 2)[:3, 3] for index in range(COUNT)]  # 0.1 s ahead, three periods late

    def error(advice):
        """Mean error of the last third, when the lag is known."""
        pairs = list(zip(advice, truth, strict=True))[2 * COUNT // 3 :]
        return np.mean([np.linalg.norm(one.predicted[:3, 3] - place) for one, place in pairs])

    assert error(live) < 0.5 * error(alone)


def test_poses_wait_for_set_points_and_not_for_ever(ball):
    _, patient, tool = streams()
    advisor = advisor_for(ball, ordered=True)
    assert feed(advisor, patient + tool) == []
    assert advisor.awaits_setpoints
    late = START + WAIT_NS + 2 * PERIOD
    assert [one.stamp_ns for one in feed(advisor, [(late, 1, np.eye(4))])] == [START + k * PERIOD for k in range(3)]
    assert len(advisor.finish()) == COUNT - 3
    assert not advisor.awaits_setpoints


def test_bad_set_points_are_refused_and_change_nothing():
    stream = SetpointStream(expected=True)
    stream.add(5, np.eye(4))
    for stamp_ns, pose, code in ((5, np.eye(4), 'STAMP_BACKWARD'), (9, np.full((4, 4), np.nan), 'NOT_FINITE')):
        with pytest.raises(InputError) as refusal:
            stream.add(stamp_ns, pose)
        assert refusal.value.code == code
    assert not stream.settled(9, 9)
    assert [stamp_ns for stamp_ns, _ in stream.take(9)] == [5] and stream.take(9) == []
    stream.reset()
    stream.add(1, np.eye(4))
    assert stream.settled(1, 1)
