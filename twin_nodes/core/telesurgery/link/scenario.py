"""A scenario: the settings of a link with its measured traces, from which seeded links are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twin_nodes.core.config import build_config, check_values, settings_of
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.telesurgery.link.config import DirectionConfig, LinkConfig
from twin_nodes.core.telesurgery.link.direction import LinkDirection
from twin_nodes.core.telesurgery.link.site_clock import SiteClock
from twin_nodes.core.telesurgery.link.trace import DelayTrace, Opportunities

FORWARD, BACKWARD = 0, 1


@dataclass(frozen=True)
class Scenario:
    """A link that can be made again and again.

    Args:
        config: Settings.
        traces: Measured delays by direction ('forward', 'backward').
        opportunities: mahimahi traces by direction.
    """

    config: LinkConfig
    traces: Mapping[str, DelayTrace] = field(default_factory=dict)
    opportunities: Mapping[str, Opportunities] = field(default_factory=dict)

    def link(self, seed: int) -> 'Link':
        """Make the link of a seed; the same seed is the same link."""
        return Link(self, seed)


class Link:
    """Both directions and both clocks of one run.

    Args:
        scenario: What to emulate.
        seed: Seed; the directions draw independent numbers from it.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        config = scenario.config
        self.scenario = scenario
        self.seed = seed
        self.forward = self._direction('forward', FORWARD)
        self.backward = self._direction('backward', BACKWARD)
        self.leader_clock = SiteClock(config.leader_clock)
        self.follower_clock = SiteClock(config.follower_clock)

    def _direction(self, name: str, number: int) -> LinkDirection:
        return LinkDirection(
            getattr(self.scenario.config, name),
            seed=self.seed,
            direction=number,
            trace=self.scenario.traces.get(name),
            opportunities=self.scenario.opportunities.get(name),
        )


def link_config(values: Mapping[str, Any], *, source: str = '') -> LinkConfig:
    """Build the settings of a link; what stands under `both` holds for both directions and is overridden by them.

    Raises:
        ConfigError: naming source, key, value and limit.
    """
    parts = {name: _groups(name, values.get(name), source) for name in ('both', 'forward', 'backward')}
    rest = {key: value for key, value in values.items() if key not in parts}
    if 'seed' in rest:
        raise ConfigError(f'{source}: a scenario has no seed; it is given with the run (--seed, or seed of relay_node)')
    for direction in ('forward', 'backward'):
        rest[direction] = _merged(parts['both'], parts[direction])
    return build_config(LinkConfig, rest, source=source)


def _groups(name: str, value: Any, source: str) -> Mapping[str, Any]:
    """Return what stands under a direction, whose entries are groups of settings or settings by themselves."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f'{source}: {name}={value!r}: expected keys such as delay, loss and bandwidth under it')
    single = [item.key for item in settings_of(DirectionConfig)]
    groups = {key.split('.')[0] for key in single if '.' in key}
    for key, given in value.items():
        if key in groups and not isinstance(given, Mapping):
            inside = [known.removeprefix(f'{key}.') for known in single if known.startswith(f'{key}.')]
            raise ConfigError(
                f'{source}: {name}.{key}={given!r}: expected keys under it, such as {", ".join(inside[:4])}'
            )
    check_values(DirectionConfig, value, source=source, under=f'{name}.')  # by the names under which they are written
    return value


def written_under(values: Mapping[str, Any], direction: str, group: str, key: str) -> str:
    """Return the dotted key under which a setting of a direction stands in a scenario: its own, or that of `both`."""
    own = values.get(direction) or {}
    stands = f'{group}.{key}' in own or key in (own.get(group) or {})
    return f'{direction if stands else "both"}.{group}.{key}'


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        merged[key] = _merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return merged
