"""One state line per subsystem: what its node says of itself, and what was measured of its output here."""

from collections.abc import Mapping
from dataclasses import dataclass

from twin_nodes.app.view.picture import LinkPicture, SubsystemPicture
from twin_nodes.app.view.records import Check, Event, Level, Moment

SUBSYSTEMS = ('tracker', 'calibration', 'registration', 'anatomy', 'guidance')
ROBOTS = ('robot', 'simulated_robot')
OPTIONAL = ('link', 'robot', 'route', 'respiration')  # have a line once they are heard
SILENT_AFTER_NS = 3_000_000_000
CHECKS_PER_NODE = 64
_STATE_CHECKS = ('state', 'source', 'chain', 'link')
_PARTS = {'wan_bridge': 'link', 'wan_bulk': 'link', 'relay': 'link', 'compensation': 'link'}
_LINK_VALUES = (('delay_ms', 'delay {} ms'), ('loss_received_percent', 'loss {} %'), ('age_ms', 'age {} ms'))


@dataclass(frozen=True)
class Measured:
    """What was measured of a subsystem's output: rate [Hz], age [s] and σ [m], None where not known."""

    rate_hz: float | None = None
    age_s: float | None = None
    sigma: float | None = None
    what: str = ''

    @staticmethod
    def of_tie(tie: LinkPicture | None) -> 'Measured':
        """Return the age of a tie and what its error does to the tip."""
        return Measured() if tie is None else Measured(None, tie.age_s, tie.sigma_position, 'at the tip ')

    @property
    def error(self) -> str:
        """The error in words, '' when it is not known."""
        return '' if self.sigma is None else f'{self.what}σ {1e3 * self.sigma:.2f} mm'


class Subsystems:
    """The checks of the nodes that the page has a line for.

    Args:
        names: Those that have a line from the start.
    """

    def __init__(self, names: tuple[str, ...] = SUBSYSTEMS) -> None:
        self._names = (*names, *(name for name in OPTIONAL if name not in names))
        self._expected = names
        self._checks: dict[str, dict[str, Check]] = {name: {} for name in self._names}
        self._heard_steady_ns: dict[str, int] = {}

    def on_check(self, check: Check, moment: Moment) -> Event | None:
        """Take a check and return the event that it is, if its level or code changed."""
        node = check.node.removesuffix('_node')
        name = _PARTS.get(node, node)
        if name not in self._checks:
            return None
        self._heard_steady_ns[name] = moment.steady_ns
        checks = self._checks[name]
        words = (check.namespace, node if node != name else '', check.check)
        key = ' '.join(word for word in words if word)
        before = checks.get(key)
        if before is None and len(checks) >= CHECKS_PER_NODE:
            return None
        checks[key] = check
        if before is None and check.level is Level.OK:
            return None
        if before is not None and (before.level, before.code) == (check.level, check.code):
            return None
        return Event(check.stamp_ns, check.level, check.code, f'{name}, {key}: {check.message}')

    def pictures(self, moment: Moment, measured: Mapping[str, Measured] | None = None) -> tuple[SubsystemPicture, ...]:
        """Return a line for each subsystem that is expected or was heard.

        Args:
            moment: Now.
            measured: What was measured of their outputs, by name.
        """
        shown = [name for name in self._names if name in self._expected or name in self._heard_steady_ns]
        return tuple(self._picture(name, moment, (measured or {}).get(name, Measured())) for name in shown)

    def _picture(self, name: str, moment: Moment, measured: Measured) -> SubsystemPicture:
        rate_hz, age_s, error = measured.rate_hz, measured.age_s, measured.error
        if name not in self._heard_steady_ns:
            return SubsystemPicture(name, Level.STALE, 'nothing heard from its node', '', rate_hz, age_s, error)
        silent_ns = moment.steady_ns - self._heard_steady_ns[name]
        if silent_ns > SILENT_AFTER_NS:
            text = f'its node is silent for {silent_ns / 1e9:.0f} s'
            return SubsystemPicture(name, Level.STALE, text, '', rate_hz, age_s, error)
        checks = {key: check for key, check in self._checks[name].items() if check.check != 'counters'}
        if not checks:
            return SubsystemPicture(name, Level.OK, 'running', 'OK', rate_hz, age_s, error)
        key, worst = max(checks.items(), key=lambda item: (item[1].level, item[1].check in _STATE_CHECKS))
        text = worst.message if key in _STATE_CHECKS else f'{key}: {worst.message}'
        return SubsystemPicture(name, worst.level, text, worst.code, rate_hz, age_s, error or _link_error(checks))


def _link_error(checks: Mapping[str, Check]) -> str:
    """Delay, loss and age as the bridge measured them, '' where it does not say."""
    values: dict[str, str] = {}
    for check in checks.values():
        values |= {key: value for key, value in check.values.items() if value}
    told = []
    for key, words in _LINK_VALUES:
        try:
            told.append(words.format(f'{float(values[key]):.3g}'))
        except (KeyError, ValueError):
            continue
    return ', '.join(told[:2])
