"""Learns a reduced model of a case for a patch in the jaws of a tool: what `twin reduce` does."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.anatomy.elastic.reduced import ReducedModel
from twin_nodes.core.anatomy.elastic.reduced_patch import LearnedPatch, PatchConfig, learn_patch, moved_patch
from twin_nodes.core.anatomy.session_body import make_model
from twin_nodes.core.anatomy.session_config import GraspConfig, TissueConfig
from twin_nodes.core.anatomy.session_grasp import take
from twin_nodes.core.config import build_config
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.io.case import read_case
from twin_nodes.io.reduced_models import patch_names, patch_path, write_patch
from twin_nodes.io.yaml_files import read_mapping

GOAL_PERCENT, GOAL_MS = 0.3, 0.5
_TRIALS = 200


@dataclass(frozen=True)
class ReduceReport:
    """What was learned: its file, figures and text."""

    path: Path
    figures: list[Figure]
    text: str


def listed(folder: Path) -> str:
    """Say which reduced models a case has, and what to type for one."""
    case = read_case(folder)
    names = patch_names(folder)
    found = f'{case.folder.name}: {", ".join(names)}' if names else f'{case.folder.name} has no reduced model'
    return f'{found}\nLearn one: twin reduce {folder} --at X Y Z --name grasp --settings config/anatomy.yaml'


def reduce_case(
    folder: Path,
    at: tuple[float, float, float],
    name: str,
    config: PatchConfig,
    *,
    settings: Path | None = None,
    fixed: tuple[str, ...] = (),
) -> ReduceReport:
    """Learn and store a reduced model.

    Args:
        folder: The case.
        at: Where a tool takes hold, in the anatomy [m].
        name: Of the model.
        config: How far the patch is drawn, and how much is learned.
        settings: YAML of anatomy_node, for what holds the organ and how a grasp takes it.
        fixed: Regions that are held, in place of those of the settings.

    Raises:
        ConfigError: settings that are none.
        InputError: a case that cannot be used, GRASP_MISSED, REDUCED_REFUSED, TRAINING_REFUSED.
    """
    path = patch_path(folder, name)
    case = read_case(folder)
    tissue, grasp = tissue_and_grasp(settings)
    tissue = replace(tissue, fixed=fixed) if fixed else tissue
    model, held, _ = make_model(case.tets, case.materials, case.regions, tissue)
    gravity = np.array(tissue.gravity, float) if tissue.gravity else np.zeros(3)
    patch = take(model.rest, model.mesh.outer_nodes, make_transform(np.eye(3), np.array(at)), held, grasp)
    began = time.perf_counter()
    learned = learn_patch(model, patch.nodes, gravity, config)
    took = time.perf_counter() - began
    write_patch(folder, name, learned)
    figures = _figures(learned, config, took)
    return ReduceReport(path, figures, f'{path}: {len(patch.nodes)} nodes, {len(learned.basis.tets)} of '
                        f'{len(model.tets)} tetrahedra; run haptics_node with case:={folder}')  # fmt: skip


def tissue_and_grasp(settings: Path | None) -> tuple[TissueConfig, GraspConfig]:
    """Return what holds the organ and how a grasp takes it, by the YAML of anatomy_node; the defaults without one.

    Raises:
        ConfigError: a file that is none, or values that are refused.
    """
    if settings is None:
        return TissueConfig(), GraspConfig()
    document = read_mapping(settings, 'YAML of anatomy_node')
    try:
        ((_, body),) = document.items()
        session = body['ros__parameters'].get('deforming', {}).get('session', {})
        tissue, grasp = dict(session.get('tissue', {})), dict(session.get('grasp', {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f'{settings}: expected the YAML of one anatomy_node, such as config/anatomy.yaml ({error})'
        ) from None
    return (
        build_config(TissueConfig, tissue, source=str(settings)),
        build_config(GraspConfig, grasp, source=str(settings)),
    )


def _figures(learned: LearnedPatch, config: PatchConfig, took: float) -> list[Figure]:
    return [
        judge('reduced_error_percent', 100.0 * learned.error, '%', at_most=GOAL_PERCENT),
        judge('reduced_force_error_percent', 100.0 * learned.force_error, '%'),
        judge('reduced_in_span', learned.in_span / max(learned.checks, 1), '', at_least=0.9),
        judge('reduced_update_ms', _update_ms(learned, config), 'ms', at_most=GOAL_MS),
        judge('reduced_sampled_tetrahedra', float(len(learned.basis.tets)), ''),
        judge('reduced_learning_s', took, 's'),
    ]


def _update_ms(learned: LearnedPatch, config: PatchConfig) -> float:
    """Return the median time of an update with its force along a slow circle [ms]."""
    model, held = ReducedModel.restored(learned.basis), learned.basis.held
    model.show(held)
    places, times = learned.basis.rest[held], []
    for trial in range(_TRIALS):
        angle = 2.0 * np.pi * trial / _TRIALS
        shift = 0.5 * config.reach * np.array([np.cos(angle), np.sin(angle), 0.5])
        at = moved_patch(places, shift, np.zeros(3))
        began = time.perf_counter()
        state = model.update(at)
        model.wrench(state, at, at.mean(axis=0))
        times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(times))
