"""Advice is withdrawn at one instant, whoever notices it first."""

import numpy as np
import pytest

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.geometry.pairing import StampedCovariance
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.geometry.ties import Tie
from twin_nodes.core.guidance.advice import Advice
from twin_nodes.core.guidance.advisor import Advisor, AdvisorConfig
from twin_nodes.core.guidance.clearance import Structure
from twin_nodes.core.guidance.zones import Zone
from twin_nodes.core.simulate.shapes import superellipsoid

MS = 1_000_000
START = 10_000 * MS
STALE = 200 * MS


@pytest.fixture(scope='module')
def structure():
    vertices, triangles = superellipsoid(np.zeros(3), np.full(3, 0.01), exponent=1.0)
    return Structure('ball', DistanceGrid.from_surface(make_surface('ball', vertices, triangles), 0.002, 0.01))


@pytest.fixture
def advisor(structure):
    advisor = Advisor(AdvisorConfig())
    advisor.set_tip(Tie(START, np.eye(4), np.eye(6) * 1e-10))
    advisor.set_registration(Tie(START, np.eye(4), np.eye(6) * 1e-10))
    advisor.set_structures([structure])
    return advisor


def pose(stamp_ns, x=0.012):
    return StampedCovariance(stamp_ns, make_transform(np.eye(3), [x, 0.0, 0.0]), np.eye(6) * 1e-10)


def feed(advisor, stamps_ms, *, tool=True, patient=True):
    results = []
    for stamp_ms in stamps_ms:
        stamp = START + stamp_ms * MS
        if patient:
            results += advisor.add_patient(pose(stamp, 0.0))
        if tool:
            results += advisor.add_tool(pose(stamp))
    return results


def withdrawals(results):
    return [event.stamp_ns for item in results for event in item.events if event.zone is Zone.WITHDRAWN]


@pytest.mark.parametrize('lost', ['tool', 'patient'])
def test_says_within_400_ms_that_a_stream_is_lost(advisor, lost):
    feed(advisor, range(0, 200, 20))
    results = feed(advisor, range(200, 580, 20), **{lost: False})
    assert withdrawals(results) == [START + 180 * MS + STALE]


@pytest.mark.parametrize('lost', ['tool', 'patient', 'both'])
def test_says_it_alike_when_it_learns_of_it_only_afterwards(advisor, lost):
    """A recording that is read faster than it was made, or a machine that stood still."""
    feed(advisor, range(0, 200, 20))
    gone = {'tool': lost == 'patient', 'patient': lost == 'tool'}
    results = feed(advisor, range(200, 1000, 20), **gone)
    results += feed(advisor, range(1000, 1300, 20))
    assert withdrawals(results) == [START + 180 * MS + STALE]
    assert isinstance(results[-1], Advice) and results[-1].zones == {'ball': Zone.NEAR}


def test_goes_on_when_the_stamps_begin_again(advisor):
    feed(advisor, range(5000, 8000, 20))
    results = feed(advisor, range(0, 400, 20))
    assert all(isinstance(item, Advice) for item in results) and len(results) == 20
    assert results[0].stamp_ns == START
