"""Changes of the anatomy count from their own stamp on, whatever the order in which they arrive."""

from hypothesis import given
from hypothesis import strategies as st

from twin_nodes.core.guidance.anatomy_changes import LONGEST_NS, WAIT_NS, AnatomyChanges
from twin_nodes.core.stamps import ALL_NS


def changes_of(*, ordered, stamps=()):
    done = []
    changes = AnatomyChanges(ordered=ordered)
    for stamp in stamps:
        changes.add('removed', stamp, lambda stamp=stamp: done.append(stamp))
    return changes, done


def test_live_what_has_arrived_counts():
    changes, done = changes_of(ordered=False, stamps=[30, 10])
    assert done == [30, 10] and changes.settled(10**18, 0)


@given(st.permutations(range(1, 9)), st.integers(0, 10))
def test_in_replay_they_are_done_in_the_order_of_their_stamps(stamps, pose):
    changes, done = changes_of(ordered=True, stamps=stamps)
    assert done == []
    changes.advance(pose)
    assert done == [stamp for stamp in range(1, 9) if stamp <= pose]
    changes.advance(100)
    assert done == list(range(1, 9))


def test_those_of_one_stamp_keep_their_order_and_stamp_0_holds_at_once():
    changes = AnatomyChanges(ordered=True)
    done = []
    for number in range(5):
        changes.add('moved', 7, lambda number=number: done.append(number))
    changes.add('moved', 0, lambda: done.append('rest'))
    assert done == ['rest']
    changes.advance(7)
    assert done == ['rest', 0, 1, 2, 3, 4]


def test_a_pose_waits_for_a_maker_and_for_what_it_has_sent():
    changes, _ = changes_of(ordered=True)
    assert changes.settled(50, 50)  # nothing is known to change
    changes.progress('removed', 40, 0)
    assert changes.settled(40, 50) and not changes.settled(41, 50)
    changes.progress('removed', 60, 55)
    assert not changes.settled(50, 50)  # what was sent is still on its way: nobody knows how much
    changes.add('removed', 55, lambda: None)
    assert changes.settled(60, 60) and not changes.settled(61, 61)
    assert changes.settled(61, 61 + LONGEST_NS)


def test_a_maker_in_the_recording_itself_is_given_time():
    changes, _ = changes_of(ordered=True, stamps=[10])
    assert not changes.settled(20, 20 + WAIT_NS - 1)
    assert changes.settled(20, 20 + WAIT_NS)


def test_followers_hear_of_each_pose_after_the_changes_and_listeners_of_each_news():
    changes, done = changes_of(ordered=True)
    changes.follow(lambda stamp: done.append(('pose', stamp)))
    changes.listen(lambda: done.append('news'))
    changes.add('moved', 5, lambda: done.append('moved'))
    changes.progress('moved', 9, 5)
    changes.advance(6)
    assert done == ['news', 'news', 'moved', ('pose', 6)]
    changes.add('moved', 8, lambda: done.append('late'))
    changes.reset()
    changes.advance(9)
    assert 'late' not in done


def test_after_a_jump_a_pose_waits_again_for_the_makers_that_there_are():
    changes, _ = changes_of(ordered=True)
    changes.progress('removed', 60, 0)
    changes.reset()
    assert not changes.settled(20, 20)
    changes.progress('removed', 20, 0)
    assert changes.settled(20, 20)


def test_a_maker_that_has_ended_is_known_to_have_and_what_it_made_last_is_awaited():
    changes = AnatomyChanges(ordered=True)
    assert changes.have_ended, 'there is none'
    changes.progress('drill', 20, 10)
    assert not changes.have_ended
    changes.progress('drill', ALL_NS, 30)
    assert not changes.have_ended, 'the change of 30 is still on its way'
    changes.add('drill', 30, lambda: None)
    assert changes.have_ended
    assert changes.settled(20, 20) and not changes.settled(21, 21), 'a pose after a pause waits for it again'
    changes.progress('drill', 40, 30)
    assert not changes.have_ended and changes.settled(40, 40)
