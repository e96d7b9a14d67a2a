"""The machine of modes against any sequence of signs."""

from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.telesurgery.compensation_config import OutageConfig, PlaybackConfig
from twin_nodes.core.telesurgery.modes import Mode, ModeMachine, Signs

MS = 1_000_000
ALLOWED = {
    (Mode.CONNECTED, Mode.DEGRADED), (Mode.CONNECTED, Mode.OUTAGE), (Mode.CONNECTED, Mode.HOLD),
    (Mode.DEGRADED, Mode.CONNECTED), (Mode.DEGRADED, Mode.OUTAGE), (Mode.DEGRADED, Mode.HOLD),
    (Mode.OUTAGE, Mode.HOLD), (Mode.HOLD, Mode.OUTAGE), (Mode.HOLD, Mode.CATCH_UP),
    (Mode.CATCH_UP, Mode.DEGRADED), (Mode.CATCH_UP, Mode.OUTAGE), (Mode.CATCH_UP, Mode.HOLD),
}  # fmt: skip
BY_FOLLOW = {
    (Mode.OUTAGE, Mode.CATCH_UP), (Mode.CONNECTED, Mode.CATCH_UP), (Mode.DEGRADED, Mode.CATCH_UP),
}  # fmt: skip

signs = st.builds(
    Signs,
    gap_ns=st.sampled_from([0, 5 * MS, 49 * MS, 50 * MS, 200 * MS, 299 * MS, 300 * MS, 5000 * MS]),
    flow_ns=st.sampled_from([0, 99 * MS, 100 * MS, 1000 * MS]),
    late_ns=st.sampled_from([-50 * MS, 0, 299 * MS, 300 * MS, 9000 * MS]),
    caught_up=st.booleans(),
    request=st.sampled_from(['', '', '', 'replay', 'follow', 'discard', 'stop']),
    agrees=st.booleans(),
    allowed=st.booleans(),
    standing=st.sampled_from([False, False, True]),
)


def is_moving(mode):
    return mode not in (Mode.OUTAGE, Mode.HOLD)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(signs, st.integers(1, 400)), max_size=60))
def test_only_stated_ways_and_only_a_request_leads_to_motion(steps):
    machine = ModeMachine(PlaybackConfig(), OutageConfig())
    now_ns = 0
    for sign, wait_ms in steps:
        now_ns += wait_ms * MS
        before = machine.mode
        after = machine.step(now_ns, sign)
        assert before == after or (before, after) in ALLOWED or (sign.standing and (before, after) in BY_FOLLOW)
        if is_moving(after) and not is_moving(before):
            asked = sign.request in ('replay', 'follow', 'discard') and sign.allowed
            assert sign.agrees or (sign.request == 'discard' and before is Mode.HOLD)
            assert asked or (sign.standing and sign.gap_ns < 50 * MS)
            assert sign.request != 'stop'
        if sign.gap_ns >= 300 * MS:
            assert after is Mode.OUTAGE
        if sign.request == 'stop' and sign.gap_ns < 300 * MS:
            assert after in (Mode.HOLD, Mode.OUTAGE)
        if after is Mode.HOLD and before is Mode.OUTAGE:
            assert sign.flow_ns >= 100 * MS


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0, 60 * MS]), min_size=2, max_size=200))
def test_connected_only_after_its_dwell(gaps):
    machine = ModeMachine(PlaybackConfig(), OutageConfig())
    machine.mode = Mode.DEGRADED
    last_fault_ns = 0
    for index, gap_ns in enumerate(gaps):
        now_ns = index * 50 * MS
        last_fault_ns = now_ns if gap_ns else last_fault_ns
        if machine.step(now_ns, Signs(gap_ns, 0, 0, False, '', True, True)) is Mode.CONNECTED:
            assert now_ns - last_fault_ns >= 500 * MS
