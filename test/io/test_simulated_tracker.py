"""The simulated tracker on the wire: its stamps are a device's own, its poses those of the room, its end is quick."""

import threading
import time

import numpy as np
import pytest

from twin_nodes.core.simulate.room import DRILL, PATIENT, Room, RoomConfig
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.reading import ToolStatus
from twin_nodes.io.openigtlink.client import OpenIGTLinkSource, OpenIGTLinkSourceConfig
from twin_nodes.io.simulated_tracker import DEVICE_EPOCH_NS, DEVICE_SKEW_PPM, SimulatedTracker, device_stamp_ns

NAMES = {DRILL: 'DrillToTracker', PATIENT: 'ReferenceToTracker'}
RATE_HZ = 500.0

DEADLINE_S = 10.0


class Running:
    """A simulated tracker in a thread, and what it said of itself."""

    def __init__(self, config, *, ready=lambda: True, port=0):
        self.room, self.listening, self.started = Room(config), threading.Event(), threading.Event()
        self.port = port
        self.tracker = SimulatedTracker(
            self.room, host='127.0.0.1', port=port, names=NAMES, ready=ready,
            on_listening=self._listen, on_start=self.started.set,
        )  # fmt: skip
        self.thread = threading.Thread(target=self.tracker.run, daemon=True)
        self.thread.start()
        assert self.listening.wait(DEADLINE_S)

    def _listen(self, port):
        self.port = port
        self.listening.set()

    def receive(self, count):
        """Connect a client and return its first frames."""
        frames, enough = [], threading.Event()

        def take(frame):
            frames.append(frame)
            if len(frames) >= count:
                enough.set()

        source = OpenIGTLinkSource(OpenIGTLinkSourceConfig(port=self.port), time.monotonic_ns)
        client = threading.Thread(target=source.run, args=(take, lambda event: None), daemon=True)
        client.start()
        try:
            assert enough.wait(DEADLINE_S), f'{len(frames)} of {count} frames'
        finally:
            source.stop()
            client.join(DEADLINE_S)
        return frames

    def stop(self):
        start = time.monotonic()
        self.tracker.stop()
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()
        return time.monotonic() - start


@pytest.fixture
def run():
    running = []

    def start(config=RoomConfig(rate_hz=RATE_HZ, pivot_time=0.05, occlusion_every=0.5), **kwargs):  # noqa: B008
        running.append(Running(config, **kwargs))
        return running[-1]

    yield start
    for tracker in running:
        tracker.stop()


def test_the_frames_are_those_of_the_room_with_the_stamps_of_a_device(run):
    tracker = run()
    frames = tracker.receive(40)
    for frame in frames:
        elapsed_ns = (frame.device_stamp_ns - DEVICE_EPOCH_NS) / (1.0 + DEVICE_SKEW_PPM * 1e-6)
        number = elapsed_ns * RATE_HZ / NANOSECONDS
        assert abs(number - round(number)) < 1e-3
        _, measured = tracker.room.measure(round(number))
        seen = {reading.device: reading for reading in frame.readings}
        for tool, pose in measured.items():
            reading = seen[NAMES[tool]]
            assert reading.status is ToolStatus.TRACKED
            np.testing.assert_allclose(reading.tracker_T_tool, pose, atol=2e-7)  # float32 on the wire
    stamps = [frame.device_stamp_ns for frame in frames]
    assert stamps == sorted(set(stamps))


def test_a_hidden_tool_is_left_out(run):
    config = RoomConfig(rate_hz=RATE_HZ, pivot_time=0.0, dwell_time=0.1, travel_time=0.1, occlusion_every=0.5,
                        occlusion_time=0.5)  # fmt: skip
    tracker = run(config)
    frames = tracker.receive(round(RATE_HZ * (tracker.room.drill_start + 0.1)))
    hidden = [frame for frame in frames if len(frame.readings) == 1]
    assert hidden and all(frame.readings[0].device == NAMES[PATIENT] and frame.complete for frame in hidden)


def test_it_waits_for_a_client_and_for_whom_it_was_told_to_wait(run):
    go = threading.Event()
    asked = threading.Event()

    def ready():
        asked.set()
        return go.is_set()

    tracker = run(ready=ready)
    assert not asked.is_set() and not tracker.started.is_set()
    client = threading.Thread(target=tracker.receive, args=(3,), daemon=True)
    client.start()
    assert asked.wait(DEADLINE_S) and not tracker.started.is_set()
    go.set()
    assert tracker.started.wait(DEADLINE_S)
    client.join(DEADLINE_S)


def test_it_stops_within_half_a_second_waiting_or_playing(run):
    assert run().stop() < 0.5
    playing = run()
    playing.receive(5)
    assert playing.stop() < 0.5


def test_a_taken_port_is_an_error_of_the_caller(run):
    taken = run()
    second = SimulatedTracker(Room(RoomConfig()), host='127.0.0.1', port=taken.port, names=NAMES, ready=lambda: True,
                              on_listening=lambda port: None, on_start=lambda: None)  # fmt: skip
    with pytest.raises(OSError, match='in use'):
        second.run()


def test_the_clock_of_the_device_is_30_ppm_fast():
    assert device_stamp_ns(0) == DEVICE_EPOCH_NS
    hour_ns = 3600 * NANOSECONDS
    assert device_stamp_ns(hour_ns) - DEVICE_EPOCH_NS - hour_ns == 108_000_000
