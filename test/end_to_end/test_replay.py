"""A bag through the real nodes gives the same each time: twice in process trees of their own, and twice in one tree."""

from pathlib import Path

import pytest

from twin_nodes.app.bench.replay import missing_topics, replay_twice
from twin_nodes.app.bench.replay_room import START_NS, write_room_bag
from twin_nodes.app.bench.replay_tree import STRUCTURES, ReplayTree
from twin_nodes.core.simulate.room import Room, RoomConfig
from twin_nodes.io.bags.compare import compare_sequences, sequences
from twin_nodes.io.bags.reader import BagReader

SECONDS, RATE = 22.0, 8.0
TOTAL_S = 240.0  # half a minute where the machine has nothing else to do


@pytest.mark.timeout(TOTAL_S)
def test_two_replays_of_one_bag_are_identical_in_every_field(tmp_path: Path):
    comparison = replay_twice(tmp_path, seconds=SECONDS, rate=RATE)
    assert not comparison.differences, '\n'.join(map(str, comparison.differences))
    assert missing_topics(comparison) == []
    counts = comparison.counts
    visible = sum(visible_frames(SECONDS))
    assert counts['/drill/measured_cp'] == counts['/drill/filtered_cp'] == counts['/tf drill'] == visible
    assert counts['/patient/filtered_cp'] == round(SECONDS * 60.0) > visible, 'an occlusion is part of the bag'
    assert counts['/guidance/tip'] == counts['/guidance/clearance'] > 400
    assert all(counts[f'/guidance/{name}/distance'] == counts['/guidance/tip'] for name in STRUCTURES)
    assert counts['/guidance/events'] >= 4
    with BagReader(tmp_path / 'first' / 'out') as reader:
        stamps = stamps_of(reader, '/tf_static', '/anatomy/surface')
    assert stamps['tracker'] == 0 and stamps['surface'] == 0, 'what has no time of measurement has stamp 0'
    assert stamps['anatomy'] > START_NS


@pytest.mark.timeout(TOTAL_S)
def test_second_pass_after_the_clock_jumped_back_repeats_the_first(tmp_path: Path):
    write_room_bag(tmp_path / 'input', seconds=SECONDS)
    with ReplayTree(tmp_path / 'loop', cache=tmp_path / 'cache') as tree:
        tree.play(tmp_path / 'input', rate=RATE, passes=2)
    with BagReader(tree.bag) as reader:
        moving = {key: rows for key, rows in sequences(reader).items() if key.split()[0] not in LATCHED_ONCE}
    assert all(len(rows) % 2 == 0 for rows in moving.values()), {key: len(rows) for key, rows in moving.items()}
    halves = {key: (rows[: len(rows) // 2], rows[len(rows) // 2 :]) for key, rows in moving.items()}
    passes = [{key: both[index] for key, both in halves.items()} for index in (0, 1)]
    comparison = compare_sequences(*passes)
    assert not comparison.differences, '\n'.join(map(str, comparison.differences))
    assert comparison.counts['/drill/filtered_cp'] == sum(visible_frames(SECONDS))
    assert comparison.counts['/calibration/drill'] >= 1 and comparison.counts['/registration'] >= 1
    assert comparison.counts['/guidance/tip'] > 400 and comparison.counts['/guidance/events'] >= 4


LATCHED_ONCE = ('/anatomy/surface', '/tf_static')


def visible_frames(seconds: float) -> list[bool]:
    room = Room(RoomConfig())
    return [room.truth(frame / 60.0).drill_visible for frame in range(round(seconds * 60.0))]


def stamps_of(reader: BagReader, *topics: str) -> dict[str, int]:
    found = {}
    for message in reader.messages(topics):
        decoded = reader.decode(message)
        for part in getattr(decoded, 'transforms', None) or decoded.markers:
            stamp = part.header.stamp
            found[getattr(part, 'child_frame_id', 'surface')] = stamp.sec * 10**9 + stamp.nanosec
    return found
