"""Stiffness of a patient's organ from what was seen of it: what `twin calibrate stiffness` does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.anatomy.elastic.laws import Material, NeoHookean
from twin_nodes.core.anatomy.elastic.loads import Loads, Pressure
from twin_nodes.core.anatomy.material.stiffness import StiffnessEstimate
from twin_nodes.core.anatomy.material.stiffness_points import SurfaceSight, estimate_from_surface
from twin_nodes.core.anatomy.material.stiffness_states import BOUNDARY, StiffnessConfig
from twin_nodes.core.anatomy.nonrigid.compliance import ComplianceConfig
from twin_nodes.core.anatomy.session_body import Body, laws_of, make_body
from twin_nodes.core.anatomy.session_config import AnatomySessionConfig, GraspConfig, TissueConfig
from twin_nodes.core.anatomy.session_grasp import take
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.io.case import Case, read_case
from twin_nodes.io.points import read_points
from twin_nodes.io.stiffness_results import stiffness_text
from twin_nodes.io.whole_files import write_text_whole
from twin_nodes.io.yaml_files import read_mapping

_KEYS = ('case', 'fixed', 'support', 'young', 'poisson', 'prior_sigma', 'states')
_STATE_KEYS = ('points', 'unit', 'sigma', 'grasps', 'gravity', 'pressure')
_GRASP_KEYS = ('place', 'to', 'radius', 'force', 'force_sigma')
MAX_POINTS = 4000


@dataclass(frozen=True, eq=False)
class StiffnessReport:
    """What was found: the estimate, the names of its unknowns, figures and text."""

    estimate: StiffnessEstimate
    names: tuple[str, ...]
    figures: list[Figure]
    text: str


def calibrate_stiffness(recipe: Path, *, output: Path | None = None) -> StiffnessReport:
    """Estimate the stiffness of each structure and of what holds the organ.

    Args:
        recipe: YAML with the case, what holds it, and the states that were seen; see docs/materials.md.
        output: Result file.

    Raises:
        ConfigError: what of the recipe is wrong.
        InputError: points or a case that cannot be used, STIFFNESS_REFUSED.
    """
    document = _document(recipe)
    case = read_case(_beside(recipe, _text(document, 'case', recipe)))
    tissue = TissueConfig(
        young=_number(document, 'young', 3000.0), poisson=_number(document, 'poisson', 0.45),
        fixed=tuple(document.get('fixed') or ()), support=_number(document, 'support', 20.0),
    )  # fmt: skip
    few = ComplianceConfig(patches=8, inner_patches=0, modes=6)
    body = make_body(case.tets, case.materials, case.regions, AnatomySessionConfig(tissue=tissue, compliance=few))
    laws = laws_of(case.tets, case.materials, tissue)
    states = document.get('states') or []
    if not isinstance(states, list) or not states:
        raise ConfigError(f'{recipe}: states must list what was seen, at least one; see docs/materials.md')
    sights = [_sight(recipe, number, state, body) for number, state in enumerate(states, 1)]
    config = StiffnessConfig(prior_sigma=_number(document, 'prior_sigma', 1.0))
    estimate = estimate_from_surface(body.model, laws, sights, config)
    names = tuple(_name(case, name) for name in estimate.names)
    if output is not None:
        learned = frozenset(estimate.names) - frozenset(estimate.unlearned)
        by_label = dict(zip(estimate.names, names, strict=True))
        write_text_whole(output, stiffness_text(case.folder.name, recipe.name, laws, estimate, by_label, learned))
    return StiffnessReport(estimate, names, _figures(estimate, names), _said(laws, estimate, names))


def _document(recipe: Path) -> dict[str, Any]:
    document = read_mapping(recipe, f'recipe with the keys {", ".join(_KEYS)}')
    _check_keys(document, _KEYS, str(recipe))
    return document


def _check_keys(found: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in found:
        if key not in known:
            raise ConfigError(f'{where}: no key {key!r}, there are: {", ".join(known)}{nearest(str(key), known)}')


def _text(document: dict[str, Any], key: str, recipe: Path) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f'{recipe}: {key} is missing: give the folder that `twin build` made')
    return value


def _number(document: dict[str, Any], key: str, default: float) -> float:
    value = document.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ConfigError(f'{key}={value!r} must be a number')
    return float(value)


def _vector(value: Any, what: str) -> Array:
    try:
        found = np.asarray(value, float)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.shape != (3,) or not np.isfinite(found).all():
        raise ConfigError(f'{what}={value!r} must be three numbers in SI units')
    return found


def _beside(recipe: Path, name: str) -> Path:
    path = Path(name).expanduser()
    return path if path.is_absolute() else recipe.parent / path


def _sight(recipe: Path, number: int, state: Any, body: Body) -> SurfaceSight:
    where = f'{recipe}: state {number}'
    if not isinstance(state, dict):
        raise ConfigError(f'{where}: expected the keys {", ".join(_STATE_KEYS)}')
    _check_keys(state, _STATE_KEYS, where)
    points = _points(recipe, where, state)
    nodes, places, gripped, force, sigma = _grasps(where, state.get('grasps') or [], body)
    pressure = _number(state, 'pressure', 0.0)
    loads = Loads(
        nodes, places, gravity=_vector(state['gravity'], f'{where}: gravity') if 'gravity' in state else np.zeros(3),
        pressure=Pressure(body.pressed, np.full(len(body.pressed), pressure)) if pressure else None,
    )  # fmt: skip
    spread = _number(state, 'sigma', 0.0015)
    if spread <= 0.0:
        raise ConfigError(f'{where}: sigma={spread:g} m must be above 0')
    return SurfaceSight(loads, points, spread, gripped, force, sigma)


def _points(recipe: Path, where: str, state: dict[str, Any]) -> Array:
    if 'points' not in state:
        return np.zeros((0, 3))
    read = read_points(_beside(recipe, str(state['points'])))
    unit = state.get('unit') or read.unit
    if unit not in ('m', 'mm'):
        raise ConfigError(f'{where}: {read.path.name} does not say its unit; add `unit: m` or `unit: mm` to the state')
    points = read.points * (1e-3 if unit == 'mm' else 1.0)
    if len(points) > MAX_POINTS:
        points = points[np.linspace(0, len(points) - 1, MAX_POINTS).round().astype(int)]
    return np.asarray(points)


def _grasps(where: str, grasps: Any, body: Body) -> tuple[Any, Array, Any, Array, float]:
    """Return held nodes, their places, those whose force was measured, that force and its σ."""
    mesh, held, places = body.model.mesh, [np.zeros(0, np.int64)], [np.zeros((0, 3))]
    measured: tuple[Any, Array, float] | None = None
    for index, grasp in enumerate(grasps, 1):
        what = f'{where}, grasp {index}'
        if not isinstance(grasp, dict):
            raise ConfigError(f'{what}: expected the keys {", ".join(_GRASP_KEYS)}')
        _check_keys(grasp, _GRASP_KEYS, what)
        place, to = (_vector(grasp.get(key), f'{what}: {key}') for key in ('place', 'to'))
        config = GraspConfig(radius=_number(grasp, 'radius', 0.006))
        taken = np.concatenate([*held, body.held])
        nodes = take(mesh.nodes, mesh.outer_nodes, make_transform(np.eye(3), place), taken, config).nodes
        held.append(nodes)
        places.append(mesh.nodes[nodes] + to - place)
        if 'force' in grasp:
            if measured is not None:
                raise ConfigError(f'{what}: one measured force a state; give the other in a state of its own')
            sigma = _number(grasp, 'force_sigma', 0.05)
            if sigma <= 0.0:
                raise ConfigError(f'{what}: force_sigma={sigma:g} N must be above 0')
            measured = nodes, _vector(grasp['force'], f'{what}: force'), sigma
    gripped, force, sigma = measured if measured is not None else (np.zeros(0, np.int64), np.zeros(3), 1.0)
    return np.concatenate(held), np.concatenate(places), gripped, force, sigma


def _name(case: Case, name: str) -> str:
    if name == BOUNDARY:
        return name
    try:
        return str(case.structures[int(name) - 1])
    except IndexError:
        return f'label_{name}'


def _figures(estimate: StiffnessEstimate, names: tuple[str, ...]) -> list[Figure]:
    figures = []
    for name, factor, low, high in zip(names, estimate.factor, estimate.low, estimate.high, strict=True):
        figures += [
            judge(f'{name}_factor', float(factor), ''),
            judge(f'{name}_factor_low', float(low), ''),
            judge(f'{name}_factor_high', float(high), ''),
        ]
    return [
        *figures,
        judge('residual_ratio', estimate.residual, ''),
        judge('is_absolute', float(estimate.is_absolute), ''),
        judge('converged', float(estimate.status == 'converged'), '', at_least=1.0),
    ]


def _said(laws: dict[int, Material], estimate: StiffnessEstimate, names: tuple[str, ...]) -> str:
    lines = []
    for index, name in enumerate(names):
        factor, low, high = estimate.factor[index], estimate.low[index], estimate.high[index]
        line = f'{name:<12} x {factor:.3g}, 95 % {low:.3g} … {high:.3g}'
        if index < len(laws) and estimate.is_absolute:
            law = laws[int(estimate.names[index])]
            assert isinstance(law, NeoHookean)
            young = law.young
            line += f'   Young {young * factor:.4g} Pa, 95 % {young * low:.4g} … {young * high:.4g}'
        lines.append(
            line + ('   (what was seen tells nothing of it)' if estimate.names[index] in estimate.unlearned else '')
        )
    if not estimate.is_absolute:
        lines.append(
            'no force was seen: only ratios are known, not how stiff all is; give a force, gravity or pressure'
        )
    lines.append(f'{estimate.status}, residuals {estimate.residual:.2f} of those expected')
    return '\n'.join(lines)


def check_output(output: Path | None) -> None:
    """Refuse an output that is no YAML file before anything is computed.

    Raises:
        InputError: with what to type.
    """
    if output is not None and output.suffix.lower() not in ('.yaml', '.yml'):
        raise InputError(f'{output}: the result is YAML; name it {output.with_suffix(".yaml").name}')
