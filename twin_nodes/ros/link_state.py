"""The state of the link as a DiagnosticArray: one status for the link, one for each channel that is received."""

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from twin_nodes.core.telesurgery.bridge.site import ChannelState, LinkState
from twin_nodes.ros.health import ERROR, OK, WARN

MODES = {
    'waiting': (WARN, 'LINK_WAITING', 'no session with the other site yet'),
    'connected': (OK, 'OK', 'connected'),
    'degraded': (WARN, 'LINK_DEGRADED', 'connected, with much loss or delay'),
    'outage': (ERROR, 'LINK_OUTAGE', 'nothing authentic comes from the other site'),
}


def link_status(state: LinkState, node: str) -> DiagnosticStatus:
    """Return the status of the link."""
    level, code, message = MODES[state.mode]
    values: dict[str, object] = {
        'code': code,
        'mode': state.mode,
        'silent_ms': _ms(state.silent_s),
        'delay_ms': _ms(state.delay_s),
        'loss_received_percent': 100.0 * state.receives.loss,
        'burst_received_ms': _ms(state.receives.burst_s),
        'sent': state.sent,
        'received': state.received,
    }
    if state.offset is not None:
        values['clock_offset_ms'] = state.offset.offset_ns * 1e-6
        values['clock_offset_interval_ms'] = (state.offset.high_ns - state.offset.low_ns) * 0.5e-6
        values['round_trip_ms'] = state.offset.round_trip_ns * 1e-6
    if state.sends is not None:
        values['loss_sent_percent'] = 100.0 * state.sends.loss
        values['burst_sent_ms'] = _ms(state.sends.burst_s)
        values['jitter_sent_ms'] = _ms(state.sends.jitter_s)
        values['queue_sent_ms'] = _ms(state.sends.queue_s)
    values |= {f'copies {topic}': copies for topic, copies in state.copies.items()}
    values |= {f'refused {code}': count for code, count in sorted(state.refused.items())}
    return _status(f'{node}: link', level, message, values)


def channel_status(state: ChannelState, node: str) -> DiagnosticStatus:
    """Return the status of a channel that is received."""
    values: dict[str, object] = {
        'code': 'LINK_HOLD' if state.hold else 'OK',
        'hold': int(state.hold),
        'silent_ms': _ms(state.silent_s),
        'age_ms': _ms(state.age_s),
        'added_ms': _ms(state.added_s),
        'jitter_ms': _ms(state.jitter_s),
        'backlog': state.backlog,
        **state.counts,
    }
    message = 'hold: nothing valid has come' if state.hold else 'commands are played'
    return _status(f'{node}: {state.topic}', WARN if state.hold else OK, message, values)


def link_array(state: LinkState, node: str) -> DiagnosticArray:
    """Return the whole state; the caller stamps it."""
    channels = [channel_status(channel, node) for channel in state.channels]
    return DiagnosticArray(status=[link_status(state, node), *channels])


def _status(name: str, level: bytes, message: str, values: dict[str, object]) -> DiagnosticStatus:
    status = DiagnosticStatus(name=name, level=level, message=message)
    status.values = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    return status


def _ms(seconds: float | None) -> object:
    return '' if seconds is None else 1e3 * seconds


def _text(value: object) -> str:
    return f'{value:.6g}' if isinstance(value, float) else str(value)
