"""What a publisher offered, as rosbag2 writes it into bags."""

from dataclasses import dataclass
from typing import Any

import yaml

INFINITE_NS = 2**63 - 1
_INFINITE = {'sec': 9223372036, 'nsec': 854775807}
# the numbers that bags up to version 8 carry instead of names
_HISTORY = {0: 'system_default', 1: 'keep_last', 2: 'keep_all', 3: 'unknown'}
_RELIABILITY = {0: 'system_default', 1: 'reliable', 2: 'best_effort', 3: 'unknown', 4: 'best_available'}
_DURABILITY = {0: 'system_default', 1: 'transient_local', 2: 'volatile', 3: 'unknown', 4: 'best_available'}
_LIVELINESS = {0: 'system_default', 1: 'automatic', 3: 'manual_by_topic', 4: 'unknown', 5: 'best_available'}


@dataclass(frozen=True)
class OfferedQos:
    """The quality of service of one publisher; names in lower case, times in nanoseconds, None for without end."""

    history: str = 'keep_last'
    depth: int = 10
    reliability: str = 'reliable'
    durability: str = 'volatile'
    deadline_ns: int | None = None
    lifespan_ns: int | None = None
    liveliness: str = 'automatic'
    lease_ns: int | None = None

    @property
    def latched(self) -> bool:
        """Whether late subscribers get what was sent before."""
        return self.durability == 'transient_local'

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of metadata version 9."""
        return {
            'history': self.history,
            'depth': self.depth,
            'reliability': self.reliability,
            'durability': self.durability,
            'deadline': _time(self.deadline_ns),
            'lifespan': _time(self.lifespan_ns),
            'liveliness': self.liveliness,
            'liveliness_lease_duration': _time(self.lease_ns),
            'avoid_ros_namespace_conventions': False,
        }


def qos_text(profiles: tuple[OfferedQos, ...]) -> str:
    """Return the YAML text of `offered_qos_profiles` in a channel."""
    if not profiles:
        return ''
    return yaml.safe_dump([profile.as_dict() for profile in profiles], sort_keys=False)


def parse_qos(source: str | list[dict[str, Any]] | None) -> tuple[OfferedQos, ...]:
    """Read profiles from a channel's YAML text or from the list in metadata.yaml, of any version.

    What cannot be read counts as not recorded: the messages are worth more than their QoS.
    """
    try:
        entries = yaml.safe_load(source) if isinstance(source, str) else source
        return tuple(_profile(entry) for entry in entries or [])
    except (yaml.YAMLError, TypeError, KeyError, ValueError, AttributeError):
        return ()


def _profile(entry: dict[str, Any]) -> OfferedQos:
    return OfferedQos(
        history=_name(entry['history'], _HISTORY),
        depth=int(entry['depth']),
        reliability=_name(entry['reliability'], _RELIABILITY),
        durability=_name(entry['durability'], _DURABILITY),
        deadline_ns=_ns(entry.get('deadline')),
        lifespan_ns=_ns(entry.get('lifespan')),
        liveliness=_name(entry.get('liveliness', 'automatic'), _LIVELINESS),
        lease_ns=_ns(entry.get('liveliness_lease_duration')),
    )


def _name(value: int | str, names: dict[int, str]) -> str:
    return names.get(value, 'unknown') if isinstance(value, int) else value.lower()


def _time(nanoseconds: int | None) -> dict[str, int]:
    if nanoseconds is None:
        return dict(_INFINITE)
    return {'sec': nanoseconds // 10**9, 'nsec': nanoseconds % 10**9}


def _ns(entry: dict[str, int] | None) -> int | None:
    if not entry:
        return None
    nanoseconds = int(entry['sec']) * 10**9 + int(entry['nsec'])
    return nanoseconds if 0 < nanoseconds < INFINITE_NS else None
