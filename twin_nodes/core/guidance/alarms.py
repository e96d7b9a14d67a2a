"""Alarms before a contact: raised at once, ended with hysteresis and dwell, one state per structure."""

from collections.abc import Mapping
from dataclasses import dataclass

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.guidance.time_to_contact import AlarmConfig, Outlook
from twin_nodes.core.stamps import NANOSECONDS

CODE = 'CONTACT_AHEAD'


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """A contact ahead that is announced, or no longer.

    Args:
        stamp_ns: Stamp of the pose that caused it.
        structure: Name of the structure.
        code: CONTACT_AHEAD, or OK when it ended.
        raised: Whether the alarm begins.
        time_to_contact: From the instant of the advice [s], or None.
        probability: Of a breach within the lead.
        message: One line for a person.
    """

    stamp_ns: int
    structure: str
    code: str
    raised: bool
    time_to_contact: float | None
    probability: float
    message: str


class AlarmMonitor:
    """Announces contacts ahead.

    Args:
        config: Lead and limits.
        structures: Names.

    Raises:
        ConfigError: the limit that ends an alarm is above the one that raises it.
    """

    def __init__(self, config: AlarmConfig, structures: tuple[str, ...]) -> None:
        if config.clear_probability > config.probability:
            raise ConfigError(
                f'clear_probability={config.clear_probability} must not be above probability={config.probability}'
            )
        self._config = config
        self._dwell_ns = round(config.dwell * NANOSECONDS)
        self._raised: dict[str, bool] = dict.fromkeys(structures, False)
        self._calm_since: dict[str, int] = {}

    @property
    def raised(self) -> tuple[str, ...]:
        """Structures with an alarm now."""
        return tuple(name for name, on in self._raised.items() if on)

    def reset(self) -> None:
        """End all alarms without a word, as when the advice is withdrawn or the clock jumped."""
        self._raised = dict.fromkeys(self._raised, False)
        self._calm_since.clear()

    def update(self, stamp_ns: int, outlooks: Mapping[str, Outlook]) -> tuple[AlarmEvent, ...]:
        """Take the outlook of each structure at one instant and return the alarms that begin or end."""
        events = []
        for name, outlook in outlooks.items():
            if not self._raised[name] and outlook.probability >= self._config.probability:
                self._raised[name] = True
                events.append(_event(stamp_ns, name, outlook, raised=True))
            elif self._raised[name] and self._is_over(stamp_ns, name, outlook):
                self._raised[name] = False
                events.append(_event(stamp_ns, name, outlook, raised=False))
        return tuple(events)

    def _is_over(self, stamp_ns: int, name: str, outlook: Outlook) -> bool:
        if outlook.probability >= self._config.clear_probability:
            self._calm_since.pop(name, None)
            return False
        over = stamp_ns - self._calm_since.setdefault(name, stamp_ns) >= self._dwell_ns
        if over:
            del self._calm_since[name]
        return over


def _event(stamp_ns: int, name: str, outlook: Outlook, *, raised: bool) -> AlarmEvent:
    when = '' if outlook.time_to_contact is None else f' in {outlook.time_to_contact:.2f} s'
    chance = f'{100.0 * outlook.probability:.0f} %'
    message = f'{name}: contact ahead{when}, probability {chance}' if raised else f'{name}: no contact ahead any more'
    return AlarmEvent(
        stamp_ns, name, CODE if raised else 'OK', raised, outlook.time_to_contact, outlook.probability, message
    )
