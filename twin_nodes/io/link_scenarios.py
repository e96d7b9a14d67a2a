"""The scenarios N0 to N25 that come with the package, and those of the user's own YAML files."""

import difflib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.telesurgery.link.config import LinkConfig
from twin_nodes.core.telesurgery.link.scenario import Scenario, link_config
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
    config: LinkConfig = link_config(_mapping(path), source=str(path.name))
    traces, slots = {}, {}
    for number, name in enumerate(('forward', 'backward')):
        direction = getattr(config, name)
        if direction.delay.law == 'trace':
            traces[name] = delay_trace(direction.delay.trace_file, folder=path.parent, seed=TRACE_SEED + number)
        if direction.bandwidth.trace_file:
            slots[name] = opportunities(direction.bandwidth.trace_file, folder=path.parent, seed=TRACE_SEED + number)
    return Scenario(config, traces, slots)
