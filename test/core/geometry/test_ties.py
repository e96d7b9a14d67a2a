"""Ties: live the newest counts, in replay the one of the sample's time, whatever the order of arrival."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.geometry.ties import Tie, TieStream


def tie(stamp_ns: int) -> Tie:
    return Tie(stamp_ns, np.eye(4), np.eye(6))


def test_live_the_newest_to_arrive_counts_at_once_and_stays_after_a_jump():
    ties = TieStream(ordered=False)
    assert ties.settled(5) and ties.at(5) is None
    for stamp in (100, 50):
        ties.add(tie(stamp))
        assert ties.at(5).stamp_ns == stamp
    ties.reset()
    assert ties.at(5).stamp_ns == 50


@settings(deadline=None)
@given(st.permutations([10, 20, 30]), st.integers(1, 40))
def test_in_replay_a_tie_holds_from_its_stamp_on_whatever_the_order_of_arrival(order, stamp):
    ties = TieStream(ordered=True)
    for known in order:
        ties.add(tie(known))
    expected = max((known for known in order if known <= stamp), default=None)
    found = ties.at(stamp)
    assert (None if found is None else found.stamp_ns) == expected


def test_in_replay_a_sample_waits_for_the_maker_and_for_what_it_has_sent():
    ties = TieStream(ordered=True)
    assert ties.settled(15), 'nobody makes ties here'
    ties.progress(0, 0)
    assert not ties.settled(15)
    ties.progress(20, 10)
    assert not ties.settled(15), 'the tie of 10 is still on its way'
    ties.add(tie(10))
    assert ties.settled(15) and ties.settled(20) and not ties.settled(21)
    assert ties.at(9) is None and ties.at(15).stamp_ns == 10


def test_what_is_from_a_file_holds_at_all_times_and_survives_a_jump():
    ties = TieStream(ordered=True)
    ties.add(tie(0))
    ties.add(tie(10))
    assert ties.at(5).stamp_ns == 0 and ties.at(10).stamp_ns == 10
    ties.progress(99, 10)
    ties.reset()
    assert ties.at(20).stamp_ns == 0 and not ties.settled(20)
