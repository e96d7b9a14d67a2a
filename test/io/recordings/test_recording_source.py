import itertools
import threading

import pytest
from recording_texts import IDENTITY_MM, plus_frame

from twin_nodes.core.errors import ConfigError
from twin_nodes.io.recordings import RecordingSource, open_recording


@pytest.fixture
def recording(write_plus):
    stamps = ['1.0', '1.5', '1.4', '1.4', '3.0']
    return open_recording(
        write_plus(*(plus_frame(i, stamp, AToTrackerTransform=IDENTITY_MM) for i, stamp in enumerate(stamps)))
    )


def test_plays_all_frames_with_the_stamps_recorded(recording):
    frames, events = [], []
    clock = itertools.count(100)
    RecordingSource(recording, rate=0.0, now_ns=lambda: next(clock)).run(frames.append, events.append)
    assert [f.device_stamp_ns for f in frames] == [10**9, 1_500_000_000, 1_400_000_000, 1_400_000_000, 3 * 10**9]
    assert [f.arrival_ns for f in frames] == [100, 101, 102, 103, 104]
    assert [e.code for e in events] == ['SOURCE_FINISHED']
    assert frames[0].complete


def test_stop_is_prompt_while_waiting(recording, in_thread):
    first = threading.Event()
    events = []
    source = RecordingSource(recording, rate=1e-3)
    thread = in_thread(source.run, lambda frame: first.set(), events.append)
    assert first.wait(5.0)
    source.stop()
    thread.join(timeout=5.0)
    assert not thread.is_alive()
    assert events == []


def test_loop_goes_on_counting(recording):
    frames = []
    source = RecordingSource(recording, rate=0.0, loop=True)

    def collect(frame):
        frames.append(frame)
        if len(frames) == 11:
            source.stop()

    source.run(collect, lambda event: None)
    stamps = [f.device_stamp_ns for f in frames]
    assert stamps[5] - stamps[0] == stamps[10] - stamps[5] > 2 * 10**9


def test_real_time_keeps_to_the_schedule(recording):
    import time

    arrivals = []
    source = RecordingSource(recording, rate=20.0, now_ns=time.monotonic_ns)
    source.run(lambda frame: arrivals.append(frame.arrival_ns), lambda event: None)
    assert arrivals[-1] - arrivals[0] >= 2.0 / 20.0 * 1e9 * 0.9


@pytest.mark.parametrize('rate', [-1.0, float('nan'), float('inf')])
def test_rate_is_checked(recording, rate):
    with pytest.raises(ConfigError, match='rate='):
        RecordingSource(recording, rate=rate)
