"""Runs benches by name and says whether every promise holds."""

from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module

from twin_nodes.app.figures import Figure, from_mapping, print_figures
from twin_nodes.core.errors import ConfigError

BENCHES = {
    'tracking': 'twin_nodes.app.bench.tracking',
    'tf': 'twin_nodes.app.bench.tf',
    'filter': 'twin_nodes.app.bench.filter',
    'replay': 'twin_nodes.app.bench.replay',
    'time': 'twin_nodes.app.bench.time',
    'chain': 'twin_nodes.app.bench.chain',
    'distortion': 'twin_nodes.app.bench.distortion',
    'camera': 'twin_nodes.app.bench.camera',
    'respiration': 'twin_nodes.app.bench.respiration',
    'prediction': 'twin_nodes.app.bench.prediction',
    'guidance': 'twin_nodes.app.bench.guidance',
    'robot': 'twin_nodes.app.bench.robot',
    'routes': 'twin_nodes.app.bench.routes',
    'registration': 'twin_nodes.app.bench.registration',
    'visual': 'twin_nodes.app.bench.visual',
    'link': 'twin_nodes.app.bench.link',
    'deform': 'twin_nodes.app.bench.deform',
    'material': 'twin_nodes.app.bench.material',
    'carve': 'twin_nodes.app.bench.carve',
    'target': 'twin_nodes.app.bench.target',
    'build': 'twin_nodes.app.bench.build',
    'telesurgery': 'twin_nodes.app.bench.telesurgery',
    'telesurgery_live': 'twin_nodes.app.bench.telesurgery_live',
    'telesurgery_kills': 'twin_nodes.app.bench.telesurgery_kills',
    'telesurgery_soak': 'twin_nodes.app.bench.telesurgery_soak',
    'view': 'twin_nodes.app.bench.view',
}
# benches that take half an hour and more, and are run by name only
_LONG = ('telesurgery_kills', 'telesurgery_soak')
# benches that hold the figures of others, which then do not run again
_HOLDS = {'tracking': ('filter',)}


def run(names: list[str], quick: bool, json: bool) -> int:
    """Run benches and print their figures as they come.

    Args:
        names: Which; when empty all but the long ones.
        quick: Smaller samples, the same figures.
        json: One JSON object per line.

    Returns:
        The exit status: 0 when all promises hold, else 1.

    Raises:
        ConfigError: for a name that is no bench.
    """
    wanted = list(dict.fromkeys(names)) or _all()
    for name in wanted:
        _check(name)
    kept = True
    for name in wanted:
        kept = print_figures(_figures(name, quick), as_json=json) and kept
    return 0 if kept else 1


def _all() -> list[str]:
    held = {other for others in _HOLDS.values() for other in others}
    return [name for name in BENCHES if name not in held and name not in _LONG]


def _check(name: str) -> None:
    if name in BENCHES:
        return
    near = get_close_matches(name, BENCHES, 1, 0.0)
    raise ConfigError(f'no bench {name!r}; nearest is {near[0]!r}; there are: {", ".join(BENCHES)}')


def _figures(name: str, quick: bool) -> Iterator[Figure]:
    module = import_module(BENCHES[name])
    return (from_mapping(figure) for figure in module.run(quick))
