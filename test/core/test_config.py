"""Settings are refused with one line that names source, key, value, limit and the nearest key."""

from dataclasses import dataclass

import pytest

from twin_nodes.core.config import build_config, group, setting, settings_of
from twin_nodes.core.errors import ConfigError


@dataclass(frozen=True)
class Filter:
    """A group."""

    cutoff_hz: float = setting('Cut-off.', 10.0, unit='Hz', minimum=0.1, maximum=100.0)


@dataclass(frozen=True)
class Example:
    """An example."""

    tools: tuple[str, ...] = setting('Tool names.')
    mode: str = setting('Mode.', 'live', choices=('live', 'replay'))
    count: int = setting('How many.', 3, minimum=1)
    on: bool = setting('Switch.', True)
    offsets: tuple[float, ...] = setting('Offsets.', (), unit='m')
    filter: Filter = group(Filter)

    def __post_init__(self) -> None:
        """Check the relation of two fields."""
        if self.count < len(self.tools):
            raise ConfigError(f'count={self.count} must be at least the number of tools, {len(self.tools)}')


def test_builds_from_nested_and_dotted_values():
    nested = build_config(Example, {'tools': ['drill'], 'filter': {'cutoff_hz': 5}, 'offsets': [1, 2.5]})
    assert nested == build_config(Example, {'tools': ('drill',), 'filter.cutoff_hz': 5.0, 'offsets': (1.0, 2.5)})
    assert nested.filter.cutoff_hz == 5.0 and nested.offsets == (1.0, 2.5)


def test_lists_every_setting_flat():
    assert [item.key for item in settings_of(Example)] == [
        'tools', 'mode', 'count', 'on', 'offsets', 'filter.cutoff_hz'
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('values', 'says'),
    [
        ({}, 'tools has no default and must be given'),
        ({'tools': ['a'], 'mdoe': 'live'}, "unknown key 'mdoe'; did you mean 'mode'"),
        ({'tools': ['a'], 'mode': 'life'}, "mode='life' is none of live, replay; did you mean 'live'"),
        ({'tools': ['a'], 'count': 0}, 'count=0 is below its minimum 1'),
        ({'tools': ['a'], 'count': 1.5}, 'expected int, got float'),
        ({'tools': ['a'], 'on': 1}, 'expected bool, got int'),
        ({'tools': ['a'], 'count': True}, 'expected int, got bool'),
        ({'tools': 'a'}, 'expected a list'),
        ({'tools': [1]}, 'expected str, got int'),
        ({'tools': ['a'], 'filter.cutoff_hz': 1e3}, 'filter.cutoff_hz=1000.0 Hz is above its maximum 100.0 Hz'),
        ({'tools': ['a'], 'filter.cutoff_hz': float('nan')}, 'is not finite'),
        ({'tools': ['a'] * 4}, 'count=3 must be at least the number of tools, 4'),
    ],
)
def test_refuses_in_one_clear_line(values, says):
    with pytest.raises(ConfigError, match=r'^room.yaml: [^\n]*$') as caught:
        build_config(Example, values, source='room.yaml')
    assert says in str(caught.value)
