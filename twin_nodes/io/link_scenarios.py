"""The scenarios N0 to N25 that come with the package, and those of the user's own YAML files."""

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.telesurgery.link.config import LinkConfig
from twin_nodes.core.telesurgery.link.scenario import Scenario, link_config, written_under
from twin_nodes.core.telesurgery.link.trace import DelayTrace
from twin_nodes.io.link_traces import delay_trace, opportunities
from twin_nodes.io.yaml_files import read_mapping

TRACE_SEED = 24  # the made traces of N24 are one trace, whatever the seed of the run


@cache
def _files() -> dict[str, Path]:
    """The files of the package by their stem, such as N07_geo."""
    folder = Path(str(resources.files('twin_nodes.io') / 'links'))
    return {path.stem: path for path in sorted(folder.glob('N*.yaml'))}


def scenario_names() -> list[str]:
    """Return the names of the scenarios of the package, N0 first."""
    return [str(_mapping(path)['name']) for path in _files().values()]


def load_scenario(name: str) -> Scenario:
    """Load a scenario by name (N7), title (geo), the beginning of one alone (jhu), or YAML file.

    Raises:
        ConfigError: for an unknown name, with the nearest; or a file with a wrong key or value.
        InputError: for a trace that cannot be read.
    """
    if name.endswith(('.yaml', '.yml')):
        return _scenario(Path(name))
    known: dict[str, Path] = {}
    for path in _files().values():
        values = _mapping(path)
        known |= {str(values['name']).lower(): path, str(values['title']).lower(): path}
    if Path(name).is_file():
        raise ConfigError(
            f'{name} is no scenario; name a trace in one, a YAML file with '
            f'both: {{delay: {{law: trace, trace_file: {Path(name).name}}}}}'
        )
    begun = sorted((title for title in known if name and title.startswith(name.lower())), key=len)
    if begun and all(title.startswith(begun[0]) for title in begun):
        return _scenario(known[begun[0]])
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, 1, 0.0)
        raise ConfigError(
            f'no link scenario {name!r}; nearest is {near[0]!r}; there are {", ".join(scenario_names())}, their titles '
            '(twin link list), or a YAML file'
        )
    return _scenario(known[name.lower()])


def all_scenarios() -> list[Scenario]:
    """Load every scenario of the package."""
    return [_scenario(path) for path in _files().values()]


def _mapping(path: Path) -> dict[str, Any]:
    return read_mapping(path, 'link scenario with keys such as both, forward and backward')


def _scenario(path: Path) -> Scenario:
    values = _mapping(path)
    config: LinkConfig = link_config({'name': path.stem, **values}, source=str(path.name))
    traces, slots = {}, {}
    for number, name in enumerate(('forward', 'backward')):
        direction, seed = getattr(config, name), TRACE_SEED + number
        with _naming(path, written_under(values, name, 'delay', 'trace_file')):
            if direction.delay.law == 'trace':
                traces[name] = delay_trace(direction.delay.trace_file, folder=path.parent, seed=seed)
        with _naming(path, written_under(values, name, 'bandwidth', 'trace_file')):
            if direction.bandwidth.trace_file:
                slots[name] = opportunities(direction.bandwidth.trace_file, folder=path.parent, seed=seed)
    _check_round_trips(path, config, traces)
    return Scenario(config, traces, slots)


@contextlib.contextmanager
def _naming(path: Path, key: str) -> Iterator[None]:
    """Say which key of which scenario names a file that cannot be read."""
    try:
        yield
    except InputError as error:
        raise InputError(f'{path.name}: {key}: {error}', code=error.code) from None


def _check_round_trips(path: Path, config: LinkConfig, traces: Mapping[str, DelayTrace]) -> None:
    """Refuse to send a packet a whole round trip forth and another one back."""
    trips = [getattr(config, name).delay for name, trace in traces.items() if trace.round_trip]
    if len(trips) == 2 and sum(delay.trace_scale for delay in trips) > 1.0:
        raise ConfigError(
            f'{path.name}: {trips[0].trace_file} holds round trips (rtt, ping), and each way takes a whole one: '
            'delay.trace_scale: 0.5 makes a way of it'
        )
