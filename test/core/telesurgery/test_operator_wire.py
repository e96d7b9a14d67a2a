"""The wire of the simulated trials: as many copies as the link carries, and a queue that is seen."""

import pytest

from twin_nodes.core.telesurgery.operator.wire import HEAD_BYTES, Wire

S = 1_000_000_000
STEP_NS = 5_000_000
COMMAND = 56


def rate_bps(wire, seconds=2.0):
    steps = round(seconds / 0.005)
    sizes = [HEAD_BYTES + COMMAND * share for share in (wire.share(COMMAND) for _ in range(steps)) if share]
    return 8.0 * sum(sizes) / seconds


def test_a_free_link_carries_every_step():
    wire = Wire()
    assert all(wire.share(COMMAND) >= 20 for _ in range(400))


def test_no_queue_is_seen_on_a_steady_link():
    wire = Wire()
    for step in range(400):
        wire.arrived(step * STEP_NS, step * STEP_NS + 50_000_000)
    assert wire.queue_s == pytest.approx(0.0, abs=1e-9)


def test_a_standing_queue_is_seen_and_one_late_packet_is_none():
    wire = Wire()
    for step in range(400):
        late = 300_000_000 if step == 300 else 0
        wire.arrived(step * STEP_NS, step * STEP_NS + 50_000_000 + late)
    assert wire.queue_s < 0.01
    for step in range(400, 800):
        wire.arrived(step * STEP_NS, step * STEP_NS + 550_000_000)
    assert wire.queue_s == pytest.approx(0.5, abs=0.01)


def test_a_queue_makes_it_send_less_until_little_is_left():
    wire = Wire()
    assert rate_bps(wire) > 1e6
    for step in range(40):
        wire.reported(0.5 + 0.5 * step, 0.2, step * S)
    assert rate_bps(wire) < 150e3
    shares = [wire.share(COMMAND) for _ in range(40)]
    assert sum(share > 0 for share in shares) >= 10  # at least each fourth step
    assert all(share >= 4 for share in shares if share)  # with those between, so that none is lost by that
