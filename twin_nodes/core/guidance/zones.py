"""Zones clear, near and inside of each structure: danger is entered at once and left with hysteresis and dwell."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.guidance.config import ZoneConfig


class Zone(StrEnum):
    """How the tool stands to a structure."""

    CLEAR = 'clear'
    NEAR = 'near'
    INSIDE = 'inside'
    WITHDRAWN = 'withdrawn'


_CODES = {
    Zone.CLEAR: 'OK',
    Zone.NEAR: 'STRUCTURE_NEAR',
    Zone.INSIDE: 'STRUCTURE_BREACHED',
    Zone.WITHDRAWN: 'GUIDANCE_STALE',
}
_DANGER = {Zone.WITHDRAWN: -1, Zone.CLEAR: 0, Zone.NEAR: 1, Zone.INSIDE: 2}


@dataclass(frozen=True, slots=True)
class ZoneEvent:
    """One change of zone.

    Args:
        stamp_ns: Stamp of the pose that caused it.
        structure: Name of the structure.
        code: Entry of `core.codes.CODES`: STRUCTURE_NEAR, STRUCTURE_BREACHED, GUIDANCE_STALE, or OK when clear.
        previous: The zone before.
        zone: The zone now.
        distance: Signed distance [m]; None when the advice was withdrawn.
        message: One line for a person.
    """

    stamp_ns: int
    structure: str
    code: str
    previous: Zone
    zone: Zone
    distance: float | None
    message: str


@dataclass(slots=True)
class _State:
    near_distance: float
    zone: Zone = Zone.WITHDRAWN
    above_since: dict[Zone, int] = field(default_factory=dict)


class ZoneMonitor:
    """The state machine of the zones, one state per structure; it starts withdrawn.

    A zone is entered with the first distance below its limit. It is left when the distance has stayed at or above
    the leaving limit (limit + hysteresis) for `dwell`, counted in stamps.

    Args:
        config: Limits.
        near_distances: Per structure its limit of `near` [m]; NaN takes the one of the config.

    Raises:
        ConfigError: a near_distance below zero, or a hysteresis of `inside` that reaches beyond `near`.
    """

    def __init__(self, config: ZoneConfig, near_distances: Mapping[str, float]) -> None:
        self._config = config
        self._dwell_ns = round(config.dwell * 1e9)
        self._states: dict[str, _State] = {}
        for name, given in near_distances.items():
            limit = config.near_distance if math.isnan(given) else given
            if limit < 0.0 or config.inside_hysteresis > limit + config.near_hysteresis:
                raise ConfigError(
                    f'{name}: near_distance={limit} m must be at least 0, and with near_hysteresis='
                    f'{config.near_hysteresis} m not below inside_hysteresis={config.inside_hysteresis} m'
                )
            self._states[name] = _State(limit)
        self._stamp_ns: int | None = None

    @property
    def zones(self) -> dict[str, Zone]:
        """The zone of each structure now."""
        return {name: state.zone for name, state in self._states.items()}

    def update(self, stamp_ns: int, distances: Mapping[str, float]) -> tuple[ZoneEvent, ...]:
        """Take the distances [m] of one instant, one for each structure, and return the changes of zone.

        Raises:
            InputError: NOT_FINITE; STAMP_BACKWARD or STAMP_DUPLICATE (nothing is changed); a structure missing or
                unknown.
        """
        if distances.keys() != self._states.keys():
            raise InputError(f'distances of {sorted(distances)} given, structures are {sorted(self._states)}')
        broken = [name for name, distance in distances.items() if not math.isfinite(distance)]
        if broken:
            raise InputError(f'distance of {", ".join(broken)} is NaN or Inf', code='NOT_FINITE')
        self._advance(stamp_ns)
        events = (self._step(stamp_ns, name, state, distances[name]) for name, state in self._states.items())
        return tuple(event for event in events if event is not None)

    def withdraw(self, stamp_ns: int) -> tuple[ZoneEvent, ...]:
        """Take the advice back, because the pose is stale; the next update starts anew from its own distance.

        Args:
            stamp_ns: When that was seen. A pose measured before it, but after the last one, is still welcome.
        """
        events = []
        for name, state in self._states.items():
            if state.zone is not Zone.WITHDRAWN:
                events.append(self._change(stamp_ns, name, state, Zone.WITHDRAWN, None))
        return tuple(events)

    def reset(self) -> None:
        """Forget everything, when the clock jumped."""
        self._stamp_ns = None
        for state in self._states.values():
            state.zone = Zone.WITHDRAWN
            state.above_since.clear()

    def _advance(self, stamp_ns: int) -> None:
        if self._stamp_ns is not None and stamp_ns <= self._stamp_ns:
            code = 'STAMP_DUPLICATE' if stamp_ns == self._stamp_ns else 'STAMP_BACKWARD'
            raise InputError(f'stamp {stamp_ns} ns does not come after {self._stamp_ns} ns', code=code)
        self._stamp_ns = stamp_ns

    def _step(self, stamp_ns: int, name: str, state: _State, distance: float) -> ZoneEvent | None:
        entered = _zone_of(distance, state.near_distance)
        left_near = self._has_left(stamp_ns, state, Zone.NEAR, distance)
        left_inside = self._has_left(stamp_ns, state, Zone.INSIDE, distance)
        zone = state.zone
        if _DANGER[entered] > _DANGER[zone]:
            zone = entered
        elif zone is Zone.INSIDE and left_inside:
            zone = Zone.CLEAR if left_near else Zone.NEAR
        elif zone is Zone.NEAR and left_near:
            zone = Zone.CLEAR
        return None if zone is state.zone else self._change(stamp_ns, name, state, zone, distance)

    def _has_left(self, stamp_ns: int, state: _State, zone: Zone, distance: float) -> bool:
        limit = (
            self._config.inside_hysteresis
            if zone is Zone.INSIDE
            else state.near_distance + self._config.near_hysteresis
        )
        if distance < limit:
            state.above_since.pop(zone, None)
            return False
        return stamp_ns - state.above_since.setdefault(zone, stamp_ns) >= self._dwell_ns

    def _change(self, stamp_ns: int, name: str, state: _State, zone: Zone, distance: float | None) -> ZoneEvent:
        previous, state.zone = state.zone, zone
        if zone is Zone.WITHDRAWN:
            state.above_since.clear()
        return ZoneEvent(stamp_ns, name, _CODES[zone], previous, zone, distance, _message(name, zone, distance))


def _zone_of(distance: float, near_distance: float) -> Zone:
    if distance < 0.0:
        return Zone.INSIDE
    return Zone.NEAR if distance < near_distance else Zone.CLEAR


def _message(name: str, zone: Zone, distance: float | None) -> str:
    if zone is Zone.WITHDRAWN or distance is None:
        return f'{name}: no fresh pose, advice withdrawn'
    if zone is Zone.INSIDE:
        return f'{name}: tool inside, {-1e3 * distance:.1f} mm deep'
    return f'{name}: {zone}, {1e3 * distance:.1f} mm away'
