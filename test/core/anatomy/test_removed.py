"""Deltas and snapshots: whatever is lost, doubled or late, the receiver ends identical and knows when it is."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.carving_volume import CarvedVolume
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.removed import CHUNK_RUNS, RemovedSender, runs_of
from twin_nodes.core.anatomy.removed_receiver import RemovedReceiver, State
from twin_nodes.core.errors import InputError

H = 0.0005


def sender(size=24):
    labels = np.ones((size,) * 3, np.uint8)
    labels[: size // 2] = 2
    volume = CarvedVolume(LabelVolume(labels, np.diag([H, H, H, 1.0])))
    return volume, RemovedSender(volume, 7)


def drill(volume, out, steps, seed=0):
    """Deltas of a walk, and a snapshot after every fifth."""
    rng = np.random.default_rng(seed)
    place = np.full(3, volume.voxels.shape[0] * H / 2)
    messages = [*out.snapshot()]
    for number in range(steps):
        step = place + rng.normal(0.0, 0.0008, 3)
        step = np.clip(step, 0.0, (volume.voxels.shape[0] - 1) * H)
        delta = out.delta(1_000_000_000 + number, volume.ball(place, step, 0.0012))
        place = step
        if delta is not None:
            messages.append(delta)
        if number % 5 == 4:
            messages += out.snapshot()
    return messages


def same(receiver, volume):
    np.testing.assert_array_equal(receiver.removed_indices, volume.removed_indices())
    assert receiver.total == volume.removed and receiver.hash == volume.hash


def test_deltas_after_a_snapshot_keep_the_receiver_current():
    volume, out = sender()
    receiver = RemovedReceiver()
    for message in drill(volume, out, 30):
        assert receiver.take(message) is State.CURRENT
    same(receiver, volume)
    assert receiver.lost == 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), lost=st.floats(0.0, 0.9), doubled=st.booleans(), shuffled=st.booleans())
def test_lost_doubled_and_late_messages_end_identical(seed, lost, doubled, shuffled):
    volume, out = sender()
    messages = drill(volume, out, 25, seed)
    rng = np.random.default_rng(seed)
    kept = [message for message in messages if rng.random() >= lost]
    if doubled:
        kept = [message for message in kept for _ in range(2)]
    if shuffled:
        kept = [kept[at] for at in np.argsort(np.arange(len(kept)) + rng.uniform(0, 6, len(kept)))]
    receiver = RemovedReceiver()
    for message in kept:
        state = receiver.take(message)
        known = receiver.removed_indices
        assert np.isin(known, volume.removed_indices()).all()  # never more than is gone
        assert (state is State.CURRENT) <= (len(known) == receiver.total)
    for message in out.snapshot():  # the periodic one
        state = receiver.take(message)
    assert state is State.CURRENT
    same(receiver, volume)


def test_a_third_of_the_deltas_is_lost_and_recovered():
    volume, out = sender()
    rng = np.random.default_rng(1)
    receiver, states = RemovedReceiver(), set()
    for message in drill(volume, out, 60):
        if not message.is_delta or rng.random() > 0.3:
            states.add(receiver.take(message))
    assert states == {State.CURRENT, State.BEHIND} and receiver.lost > 5
    same(receiver, volume)


def test_one_who_joins_late_takes_the_snapshot_and_goes_on():
    volume, out = sender()
    drill(volume, out, 20)
    receiver = RemovedReceiver()
    delta = out.delta(2, volume.ball(np.full(3, 0.002), np.full(3, 0.002), 0.0012))
    assert receiver.take(delta) is State.WAITING
    for chunk in out.snapshot():
        receiver.take(chunk)
    assert receiver.state is State.CURRENT
    same(receiver, volume)


def test_snapshots_come_in_chunks_and_count_only_when_whole(monkeypatch):
    monkeypatch.setattr('twin_nodes.core.anatomy.removed.CHUNK_RUNS', 20)
    volume, out = sender()
    drill(volume, out, 20)
    chunks = out.snapshot()
    assert len(chunks) > 3 and CHUNK_RUNS > 20
    receiver = RemovedReceiver()
    order = np.random.default_rng(0).permutation(len(chunks))
    states = [receiver.take(chunks[at]) for at in order]
    assert set(states[:-1]) == {State.WAITING} and states[-1] is State.CURRENT
    same(receiver, volume)


def test_a_new_session_brings_all_back_and_an_old_one_is_not_heard():
    volume, out = sender()
    resets = []
    receiver = RemovedReceiver(on_reset=lambda: resets.append(1))
    old = drill(volume, out, 10)
    for message in old:
        receiver.take(message)
    volume.reset()
    out.restart()
    for message in drill(volume, out, 3):
        receiver.take(message)
    assert resets == [1] and receiver.state is State.CURRENT
    same(receiver, volume)
    receiver.take(old[-1])
    same(receiver, volume)


def test_what_the_sender_never_removed_does_not_stay():
    """Another sender of the same session number, as after a restart in a replay: the snapshot wins."""
    volume, out = sender()
    receiver = RemovedReceiver()
    for message in drill(volume, out, 5, seed=1):
        receiver.take(message)
    other, out = sender()
    for message in drill(other, out, 12, seed=2):
        receiver.take(message)
    for _ in range(2):
        for message in out.snapshot():
            receiver.take(message)
    assert receiver.state is State.CURRENT
    same(receiver, other)


@settings(max_examples=50, deadline=None)
@given(st.sets(st.integers(0, 199), max_size=120), st.integers(1, 20))
def test_runs_hold_the_same_voxels_and_end_with_their_row(indices, row):
    index = np.array(sorted(indices), np.int64)
    labels = index // 7 % 3
    shuffled = np.random.default_rng(0).permutation(len(index))
    starts, lengths, found = runs_of(index[shuffled], labels[shuffled], row)
    parts = [np.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    np.testing.assert_array_equal(np.concatenate(parts) if parts else [], index)
    for part, label in zip(parts, found, strict=True):
        assert part[0] // row == part[-1] // row and (part // 7 % 3 == label).all()


@pytest.mark.parametrize(
    'change',
    [
        {'starts': np.array([-1]), 'lengths': np.array([1]), 'structures': np.array([0])},
        {'starts': np.array([24**3 - 1]), 'lengths': np.array([2]), 'structures': np.array([0])},
        {'starts': np.array([20]), 'lengths': np.array([8]), 'structures': np.array([0])},
        {'shape': (1 << 20, 1 << 20, 4)},
        {'shape': (0, 4, 4)},
        {'anatomy_T_index': np.full((4, 4), np.nan)},
        {'session': 0},
        {'chunk': 3},
    ],
    ids=lambda change: ','.join(change),
)
def test_a_message_that_does_not_fit_is_refused(change):
    volume, out = sender()
    message = drill(volume, out, 3)[-1]
    receiver = RemovedReceiver()
    with pytest.raises(InputError, match='anatomy/removed'):
        receiver.take(replace(message, **change))
    assert receiver.state is State.WAITING
