"""The switch of a drill: by the stamps, whatever comes first."""

from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.drill_switch import DrillSwitch

MS = 1_000_000
WAIT = 50 * MS


def play(poses, words, delays):
    """Say poses and words, each word late by its delay; return what counted, in order."""
    switch, found, late = DrillSwitch(WAIT), [], 0
    said = [(stamp, 1, index, None) for index, stamp in enumerate(poses)]
    said += [(stamp + delay, 0, stamp, on) for (stamp, on), delay in zip(words, delays, strict=True)]
    for at, is_pose, what, on in sorted(said, key=lambda item: item[:3]):
        if is_pose:
            found += switch.add(at, what)
        else:
            late += not switch.say(what, on=on)
    return found + switch.flush(), late


@settings(deadline=None)
@given(
    steps=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    words=st.lists(st.tuples(st.integers(0, 600), st.booleans()), max_size=10, unique_by=lambda word: word[0]),
    seed=st.randoms(use_true_random=False),
)
def test_words_that_are_not_later_than_the_wait_count_where_they_were_meant(steps, words, seed):
    poses, at = [], 0
    for step in steps:
        at += step * MS
        poses.append(at)
    words = [(stamp * MS, on) for stamp, on in sorted(words)]
    found, late = play(poses, words, [seed.randrange(WAIT) for _ in words])
    assert not late and [index for index, _ in found] == list(range(len(poses)))
    for index, on in found:
        before = [word for word in words if word[0] <= poses[index]]
        assert on is (before[-1][1] if before else False)


def test_a_word_that_is_too_late_is_told_and_holds_from_then_on():
    switch = DrillSwitch(WAIT)
    poses = range(10 * MS, 200 * MS, 10 * MS)
    found = []
    for stamp in poses:
        found += switch.add(stamp, stamp)
        if stamp == 150 * MS:
            assert not switch.say(20 * MS, on=True)
    found += switch.flush()
    assert [stamp // MS for stamp, on in found if on] == [110, 120, 130, 140, 150, 160, 170, 180, 190]


def test_nothing_is_held_after_a_flush_and_a_reset_begins_off():
    switch = DrillSwitch(WAIT)
    assert switch.flush() == []
    switch.say(5 * MS, on=True)
    assert switch.add(10 * MS, 'a') == [] and switch.flush() == [('a', True)] and switch.flush() == []
    switch.reset()
    switch.add(5 * MS, 'b')
    assert switch.flush() == [('b', False)]
