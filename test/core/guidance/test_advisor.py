"""The advisor: truth through the whole chain, what is missing in turn, and nothing that depends on arrival."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.codes import CODES
from twin_nodes.core.geometry.pairing import StampedCovariance
from twin_nodes.core.geometry.se3 import inverse, make_transform, random_transform
from twin_nodes.core.geometry.ties import Tie
from twin_nodes.core.guidance.advice import Advice, Withheld
from twin_nodes.core.guidance.advisor import Advisor, AdvisorConfig
from twin_nodes.core.guidance.clearance import Structure
from twin_nodes.core.guidance.zones import Zone
from twin_nodes.core.simulate.shapes import superellipsoid

MS = 1_000_000
START = 50_000 * MS
RADIUS = 0.01
COVARIANCE = np.eye(6) * 1e-10


@pytest.fixture(scope='module')
def ball():
    vertices, triangles = superellipsoid(np.zeros(3), np.full(3, RADIUS), exponent=1.0)
    return Structure('ball', DistanceGrid.from_surface(make_surface('ball', vertices, triangles), 0.001, 0.02))


def stamped(stamp_ns, pose):
    return StampedCovariance(stamp_ns, pose, COVARIANCE)


def tie(pose=None):
    return Tie(START, np.eye(4) if pose is None else pose, COVARIANCE)


def at(*position):
    return make_transform(np.eye(3), position)


def ready(ball):
    advisor = Advisor(AdvisorConfig())
    advisor.set_tip(tie())
    advisor.set_registration(tie())
    advisor.set_structures([ball])
    return advisor


def instant(advisor, stamp_ns, tip):
    """Both poses of one instant, the patient first."""
    return advisor.add_patient(stamped(stamp_ns, np.eye(4))) + advisor.add_tool(stamped(stamp_ns, tip))


@given(st.integers(0, 2**32 - 1), st.floats(0.003, 0.028))
@settings(max_examples=40, deadline=None)
def test_distance_is_the_truth_wherever_tracker_patient_and_tool_are(ball, seed, reach):
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=3)
    tip = reach * direction / np.linalg.norm(direction)
    anatomy_T_tip = make_transform(random_transform(rng)[:3, :3], tip)
    tracker_T_patient, patient_T_anatomy, tool_T_tip = (random_transform(rng) for _ in range(3))
    advisor = Advisor(AdvisorConfig())
    advisor.set_tip(tie(tool_T_tip))
    advisor.set_registration(tie(patient_T_anatomy))
    advisor.set_structures([ball])
    advisor.add_patient(stamped(START, tracker_T_patient))
    (advice,) = advisor.add_tool(
        stamped(START, tracker_T_patient @ patient_T_anatomy @ anatomy_T_tip @ inverse(tool_T_tip))
    )
    assert isinstance(advice, Advice) and advice.stamp_ns == START
    np.testing.assert_allclose(advice.tip.start_T_end, anatomy_T_tip, atol=1e-9)
    (clearance,) = advice.clearances
    assert clearance.distance == pytest.approx(
        reach - RADIUS, abs=4e-4
    )  # facets, and a grid of 1 mm that rounds the centre off
    expected = Zone.INSIDE if clearance.distance < 0.0 else Zone.NEAR if clearance.distance < 0.005 else Zone.CLEAR
    assert advice.zones == {'ball': expected}
    assert 0.0 < clearance.sigma < 1e-3


def test_what_is_missing_is_said_in_turn_with_codes_that_are_explained(ball):
    advisor = Advisor(AdvisorConfig())
    codes = []
    for number, supply in enumerate(
        (lambda: None, lambda: advisor.set_tip(tie()), lambda: advisor.set_registration(tie()),
         lambda: advisor.set_structures([ball]))
    ):  # fmt: skip
        assert supply() in (None, [])
        (result,) = instant(advisor, START + number * MS, at(0.0, 0.0, 0.02))
        codes.append(result.code if isinstance(result, Withheld) else 'OK')
    assert codes == ['NOT_CALIBRATED', 'NOT_REGISTERED', 'ANATOMY_REFUSED', 'OK']
    assert set(codes) <= CODES.keys()


def test_the_patient_is_interpolated_never_taken_from_nearby(ball):
    """The patient moves 1 mm in 10 ms; the sample half-way must see half of it."""
    advisor = ready(ball)
    advisor.add_patient(stamped(START, at(0.0, 0.0, 0.0)))
    assert advisor.add_tool(stamped(START + 5 * MS, at(0.0, 0.0, 0.02))) == []
    (advice,) = advisor.add_patient(stamped(START + 10 * MS, at(0.0, 0.0, 0.001)))
    np.testing.assert_allclose(advice.tip.start_T_end[:3, 3], [0.0, 0.0, 0.0195], atol=1e-12)


def test_a_lost_patient_withdraws_the_advice_within_stale_after(ball):
    advisor = ready(ball)
    for k in range(10):
        instant(advisor, START + k * 20 * MS, at(0.0, 0.0, 0.02))
    results = []
    for k in range(10, 21):  # up to 220 ms after the last advice
        assert not any(event.zone is Zone.WITHDRAWN for item in results for event in item.events)
        results += advisor.add_tool(stamped(START + k * 20 * MS, at(0.0, 0.0, 0.02)))
        if k * 20 - 180 <= 200:
            assert not any(isinstance(item, Withheld) and item.code == 'GUIDANCE_STALE' for item in results)
    (stale,) = [item for item in results if item.code == 'GUIDANCE_STALE']
    assert stale.stamp_ns == START + 380 * MS
    assert [event.zone for event in stale.events] == [Zone.WITHDRAWN]
    assert advisor.add_tool(stamped(START + 440 * MS, at(0.0, 0.0, 0.02)))[-1].code != 'GUIDANCE_STALE'  # said once


def test_stamps_that_repeat_or_run_back_make_no_second_advice(ball):
    advisor = ready(ball)
    assert isinstance(instant(advisor, START, at(0.0, 0.0, 0.02))[-1], Advice)
    for stamp_ns in (START, START - 5 * MS):
        results = advisor.add_tool(stamped(stamp_ns, at(0.0, 0.0, 0.001)))
        assert [item.code for item in results] in (['STAMP_BACKWARD'], ['NO_TRANSFORM'])


def test_a_reset_forgets_poses_and_keeps_what_was_tied(ball):
    advisor = ready(ball)
    instant(advisor, START, at(0.0, 0.0, 0.02))
    advisor.reset()
    assert advisor.check_stale(START + 10_000 * MS) == []
    assert advisor.add_tool(stamped(START - 900 * MS, at(0.0, 0.0, 0.02))) == []
    results = advisor.add_patient(stamped(START - 900 * MS, np.eye(4)))
    assert isinstance(results[-1], Advice)


def test_the_share_of_each_link_adds_up(ball):
    advisor = ready(ball)
    (advice,) = instant(advisor, START, at(0.0, 0.0, 0.02))
    assert [cost.name for cost in advice.tip.costs] == [
        'registration', 'patient tracking', 'tool tracking', 'tip calibration'
    ]  # fmt: skip
    assert sum(cost.share for cost in advice.tip.costs) == pytest.approx(1.0)
    total = math.sqrt(sum(cost.sigma**2 for cost in advice.tip.costs))
    assert advice.tip.sigma == pytest.approx(total, rel=1e-9)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_order_of_arrival_does_not_change_the_advice(ball, seed):
    """Tool and patient over two topics: whichever comes first, the same instants give the same distances."""
    rng = np.random.default_rng(seed)
    stamps = [START + k * 10 * MS for k in range(12)]
    poses = {stamp: at(0.0, 0.001 * k, 0.02) for k, stamp in enumerate(stamps)}

    def run(delay_of_patient):
        advisor, given = ready(ball), []
        order = sorted(
            [(stamp, 1, 'tool') for stamp in stamps] + [(stamp + delay_of_patient, 0, 'patient') for stamp in stamps]
        )
        for key, _, who in order:
            if who == 'tool':
                given += advisor.add_tool(stamped(key, poses[key]))
            else:
                given += advisor.add_patient(stamped(key - delay_of_patient, np.eye(4)))
        return [(item.stamp_ns, item.clearances[0].distance) for item in given if isinstance(item, Advice)]

    assert run(0) == run(int(rng.integers(0, 90)) * MS)


def approach(ball, ordered, *, anatomy_at, tie_at=0, length=60):
    """Advice while a tool draws near; the anatomy and the ties come before the pose of that number."""
    advisor, found = Advisor(AdvisorConfig(), ordered=ordered), []
    for number in range(length):
        if number == tie_at:
            found += advisor.set_tip(Tie(0, np.eye(4), COVARIANCE))
            found += advisor.set_registration(Tie(0, np.eye(4), COVARIANCE))
        if number == anatomy_at:
            found += advisor.set_structures([ball])
        found += instant(advisor, START + number * 16 * MS, at(0.0, 0.001, 0.028 - 0.0003 * number))
    return [item for item in found if isinstance(item, Advice)]


def test_a_replay_says_what_was_said_live_since_the_anatomy_came_and_more_before(ball):
    """Live the anatomy was loaded while the tool moved; a replay knows it from the first pose on, whenever it comes."""
    live = approach(ball, False, anatomy_at=20)
    replays = [approach(ball, True, anatomy_at=number, tie_at=tie) for number, tie in ((0, 0), (20, 7), (45, 50))]
    assert live[0].stamp_ns == START + 20 * 16 * MS
    for replay in replays:
        assert [item.stamp_ns for item in replay] == [START + number * 16 * MS for number in range(60)]
        for one, other in zip(live, replay[20:], strict=True):
            np.testing.assert_array_equal(one.predicted, other.predicted)
            np.testing.assert_array_equal(one.covariance, other.covariance)
            assert (one.distances, one.outlooks, one.zones) == (other.distances, other.outlooks, other.zones)
    heard = [[(event.stamp_ns, event.code) for item in replay for event in item.events] for replay in replays]
    assert heard[0] == heard[1] == heard[2]
    later = [(event.stamp_ns, event.code) for item in live[1:] for event in item.events]
    assert later and later == [event for event in heard[0] if event[0] > live[0].stamp_ns]


def test_a_pose_of_a_replay_without_any_tie_is_told_at_the_end(ball):
    advisor = Advisor(AdvisorConfig(), ordered=True)
    advisor.set_structures([ball])
    assert instant(advisor, START, at(0.0, 0.0, 0.02)) == []
    (withheld,) = advisor.finish()
    assert isinstance(withheld, Withheld) and withheld.code == 'NOT_CALIBRATED'
