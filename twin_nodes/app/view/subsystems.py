"""One state line per subsystem, from the diagnostics of its node."""

from twin_nodes.app.view.records import Check, Event, Level, Moment, SubsystemPicture

SUBSYSTEMS = ('tracker', 'calibration', 'registration', 'anatomy', 'guidance')
ROBOTS = ('robot', 'simulated_robot')
SILENT_AFTER_NS = 3_000_000_000
CHECKS_PER_NODE = 64
_STATE_CHECKS = ('state', 'source', 'chain')


class Subsystems:
    """The checks of the nodes that the page has a line for.

    Args:
        names: Those nodes.
    """

    def __init__(self, names: tuple[str, ...] = SUBSYSTEMS) -> None:
        self._names = names
        self._checks: dict[str, dict[str, Check]] = {name: {} for name in names}
        self._heard_steady_ns: dict[str, int] = {}

    def on_check(self, check: Check, moment: Moment) -> Event | None:
        """Take a check and return the event that it is, if its level or code changed."""
        name = check.node.removesuffix('_node')
        if name not in self._checks:
            return None
        self._heard_steady_ns[name] = moment.steady_ns
        checks = self._checks[name]
        before = checks.get(check.check)
        if before is None and len(checks) >= CHECKS_PER_NODE:
            return None
        checks[check.check] = check
        if before is None and check.level is Level.OK:
            return None
        if before is not None and (before.level, before.code) == (check.level, check.code):
            return None
        return Event(check.stamp_ns, check.level, check.code, f'{name}, {check.check}: {check.message}')

    def pictures(self, moment: Moment) -> tuple[SubsystemPicture, ...]:
        """Return a line for each subsystem."""
        return tuple(self._picture(name, moment) for name in self._names)

    def _picture(self, name: str, moment: Moment) -> SubsystemPicture:
        if name not in self._heard_steady_ns:
            return SubsystemPicture(name, Level.STALE, 'nothing heard from its node', '')
        silent_ns = moment.steady_ns - self._heard_steady_ns[name]
        if silent_ns > SILENT_AFTER_NS:
            return SubsystemPicture(name, Level.STALE, f'its node is silent for {silent_ns / 1e9:.0f} s', '')
        checks = [check for check in self._checks[name].values() if check.check != 'counters']
        if not checks:
            return SubsystemPicture(name, Level.OK, 'running', 'OK')
        worst = max(checks, key=lambda check: (check.level, check.check in _STATE_CHECKS))
        text = worst.message if worst.check in _STATE_CHECKS else f'{worst.check}: {worst.message}'
        return SubsystemPicture(name, worst.level, text, worst.code)
