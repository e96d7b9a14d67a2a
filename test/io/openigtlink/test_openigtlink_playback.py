import threading

import numpy as np
import pytest
from igtl_samples import pose_at

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.openigtlink.playback import FramePlayback, repeated

MS = 1_000_000


class PlaybackThread:
    """A playback in a thread; `port` is known once it listens."""

    def __init__(self, in_thread, frames, **kwargs):
        self._listening, self.summary = threading.Event(), None
        self.playback = FramePlayback(frames, port=0, on_listening=self._on_listening, **kwargs)
        self._thread = in_thread(self._run)
        assert self._listening.wait(10.0)

    def _on_listening(self, port):
        self.port = port
        self._listening.set()

    def _run(self):
        self.summary = self.playback.run()

    def join(self):
        self._thread.join(10.0)
        return self.summary


def recording(count, first_ns, period_ns=5 * MS):
    return [
        (first_ns + i * period_ns, {'A': pose_at(0.001 * i), 'B': None if i % 2 else pose_at(0.5)})
        for i in range(count)
    ]


def test_every_frame_of_a_recording_arrives_with_its_own_stamp(room, in_thread):
    frames = recording(20, 3_000_000_000)
    playback = PlaybackThread(in_thread, iter(frames))
    source = room.listen(playback.port, stream='tdata')
    source.wait_for_frames(20)
    assert [f.device_stamp_ns for f in source.frames] == [stamp for stamp, _ in frames]
    assert [len(f.readings) for f in source.frames] == [2, 1] * 10
    np.testing.assert_allclose(source.frames[7].readings[0].tracker_T_tool, pose_at(0.007), atol=1e-7)
    summary = playback.join()
    assert summary.frames == 20 and summary.frames_dropped == 0 and summary.clients >= 1


def test_pace_is_absolute(room, in_thread):
    playback = PlaybackThread(in_thread, recording(40, 1000), rate=2.0)
    source = room.listen(playback.port, stream='tdata')
    source.wait_for_frames(40)
    arrivals = np.array([f.arrival_ns for f in source.frames]) * 1e-9
    # 39 periods of 5 ms at twice the speed. A lower bound that no load can break; the first frame may be late.
    assert arrivals[-1] - arrivals[0] > 0.0975 - playback.join().worst_late_s - 1e-3


def test_a_recording_that_starts_at_zero_gets_stamps_that_mean_something(room, in_thread):
    playback = PlaybackThread(in_thread, recording(3, 0))
    source = room.listen(playback.port, stream='tdata')
    source.wait_for_frames(3)
    assert [f.device_stamp_ns for f in source.frames] == [10**9, 10**9 + 5 * MS, 10**9 + 10 * MS]


def test_stamps_of_now_follow_the_clock_that_is_given(room, in_thread):
    playback = PlaybackThread(in_thread, recording(3, 77), stamp_mode='now', now_ns=lambda: 5000, rate=5.0)
    source = room.listen(playback.port, stream='tdata')
    source.wait_for_frames(3)
    assert [f.device_stamp_ns for f in source.frames] == [5000, 5000 + MS, 5000 + 2 * MS]


def test_loop_goes_on_until_stopped_with_rising_stamps(room, in_thread):
    playback = PlaybackThread(in_thread, recording(3, 1000, MS), loop=True)
    source = room.listen(playback.port, stream='tdata')
    source.wait_for_frames(10)
    playback.playback.stop()
    assert playback.join() is not None
    assert [f.device_stamp_ns for f in source.frames[:10]] == [1000 + i * MS for i in range(10)]


def test_stop_while_waiting_for_a_client(in_thread):
    playback = PlaybackThread(in_thread, recording(3, 1000))
    playback.playback.stop()
    assert playback.join().frames == 0


def test_plays_to_nobody_when_told_so():
    assert FramePlayback(recording(5, 1000), port=0, wait_for_client=False, rate=100.0).run().frames == 5
    assert FramePlayback([], port=0, wait_for_client=False).run().frames == 0


def test_one_frame_loops_at_a_pace():
    frames = repeated([(7, {})], loop=True)
    assert [next(frames)[0] for _ in range(3)] == [0, 20 * MS, 40 * MS]


def test_stamps_out_of_order_are_refused():
    with pytest.raises(InputError, match='sort the frames'):
        FramePlayback([(5, {}), (5, {})], port=0, wait_for_client=False).run()


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [({'rate': 0.0}, 'rate=0.0'), ({'rate': float('inf')}, 'rate'), ({'stamp_mode': 'x'}, 'recorded, now')],
)
def test_wrong_settings_are_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        FramePlayback([], **wrong)
