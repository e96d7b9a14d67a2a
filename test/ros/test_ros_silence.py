"""A replay has ended when its streams are silent and its clock stands still; a machine that stalls is no silence."""

from types import SimpleNamespace

import pytest

from twin_nodes.core.stamps import ALL_NS, NANOSECONDS
from twin_nodes.ros.silence import ReplaySilence

PERIOD = 0.05


class Clocks:
    """The clock of the replay, and the steady one in place of the machine's."""

    def __init__(self) -> None:
        self.told_s = self.steady_s = 100.0
        node = SimpleNamespace(get_clock=lambda: SimpleNamespace(now=lambda: self.stamp(self.told_s)))
        self.silence = ReplaySilence(node, PERIOD)
        self.silence._steady = SimpleNamespace(now=lambda: self.stamp(self.steady_s))
        self.silence.tick()
        self.silence.hear()

    @staticmethod
    def stamp(seconds):
        return SimpleNamespace(nanoseconds=round(seconds * NANOSECONDS))

    def tick(self, seconds, *, clock_runs, late=0.0):
        """Tick for so long; each tick comes late by so much."""
        for _ in range(round(seconds / PERIOD)):
            self.steady_s += PERIOD + late
            self.told_s += 0.4 if clock_runs else 0.0
            self.silence.tick()


@pytest.fixture
def clocks():
    return Clocks()


def test_it_has_ended_when_the_clock_stands_still_and_nothing_is_heard(clocks):
    clocks.tick(1.5, clock_runs=False)
    assert not clocks.silence.has_ended
    clocks.tick(1.0, clock_runs=False)
    assert clocks.silence.has_ended and not clocks.silence.is_long
    clocks.silence.hear()
    assert not clocks.silence.has_ended
    clocks.tick(2.5, clock_runs=False)
    assert clocks.silence.has_ended


def test_while_the_clock_runs_a_far_longer_silence_is_needed(clocks):
    clocks.tick(9.0, clock_runs=True)
    assert not clocks.silence.has_ended
    clocks.tick(1.5, clock_runs=True)
    assert clocks.silence.has_ended and clocks.silence.is_long


def test_a_machine_that_stood_still_has_first_to_read_what_came(clocks):
    clocks.tick(0.5, clock_runs=False)
    clocks.tick(PERIOD, clock_runs=True, late=30.0)
    assert not clocks.silence.has_ended
    clocks.tick(1.0, clock_runs=False, late=2.0)  # each of twenty ticks two seconds late
    assert not clocks.silence.is_long


def test_while_the_maker_of_a_stream_works_it_may_only_be_late(clocks):
    silence = clocks.silence
    silence._note('drill/filtered_cp', 5, 0)
    silence._note('patient/filtered_cp', 5, 0)
    clocks.tick(2.5, clock_runs=False)
    assert not silence.has_ended
    silence._note('drill/filtered_cp', ALL_NS, 0)
    assert not silence.has_ended
    silence._note('patient/filtered_cp', ALL_NS, 0)
    assert silence.has_ended, 'that they have ended is nothing that was heard'
    silence._note('drill/filtered_cp', 6, 0)
    assert not silence.has_ended
    clocks.tick(10.5, clock_runs=False)
    assert silence.has_ended, 'one that ended without a word is not waited for without end'
