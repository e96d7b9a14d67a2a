"""Holding a stored registration against landmarks or surfaces touched since: what `twin register check` does."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin_nodes.app.figures import Figure
from twin_nodes.app.offline_surface import read_surface_file
from twin_nodes.app.offline_swab import read_swab, to_metres
from twin_nodes.core.errors import InputError
from twin_nodes.core.registration.drift import DriftFinding, DriftMonitor, DriftState, Watched
from twin_nodes.io.landmarks import read_landmarks
from twin_nodes.io.results import read_result


@dataclass(frozen=True)
class CheckReport:
    """What each touch and each swab said, the state in the end, figures, and text for a terminal."""

    findings: tuple[DriftFinding, ...]
    state: DriftState
    figures: tuple[Figure, ...]
    text: str


def check_registration(
    registration: Path,
    swabs: tuple[Path, ...] = (),
    *,
    surface_file: Path | None = None,
    landmarks: Path | None = None,
    touched: tuple[Path, ...] = (),
    tip: Path | None = None,
    unit: str = '',
    surface_unit: str = '',
    label: int = 0,
) -> CheckReport:
    """Check a stored registration with landmarks touched again, swabs made again, or both, in this order.

    Args:
        registration: The stored result.
        swabs: Point files or recordings of the surface, one check each.
        surface_file: The surface, for swabs.
        landmarks: Landmarks in the anatomy, for touches.
        touched: Their places in the patient, one file per round of touching.
        tip: Calibration of the stylus, for recordings.
        unit: Of the point files.
        surface_unit: Of the surface.
        label: Of the structure in a volume.

    Raises:
        InputError: Nothing to check with, or files that cannot be used.
        DegenerateGeometryError: A swab that does not lie near the surface.
    """
    if not (swabs and surface_file) and not (touched and landmarks):
        raise InputError('give swabs with --surface, or --touched places with --landmarks: there is nothing to check')
    stored = read_result(registration, kind='registration', usable=True)
    names, positions = read_landmarks(str(landmarks)) if landmarks is not None else ((), np.empty((0, 3)))
    monitor = DriftMonitor(names, positions)
    if surface_file is not None:
        from twin_nodes.nodes.swab_input import prepare_target

        surface, _ = read_surface_file(surface_file, unit=surface_unit, label=label)
        monitor.about(surface.vertices.mean(axis=0))
    freedom = max(3 * round(stored.errors.get('fiducials_count', 0.0)) - 6, 0)
    monitor.watch(Watched(stored.parent_T_child, stored.covariance, stored.errors.get('fle_m', 0.0), freedom))
    findings = []
    for path in touched:
        found, places = read_landmarks(str(path), minimum=1)
        for name, place in zip(found, places, strict=True):
            if name not in names:
                raise InputError(f'{path.name}: {name!r} is no landmark; there are {", ".join(names)}')
            findings.append(monitor.touch(len(findings), names.index(name), place))
    if surface_file is not None:
        target = prepare_target(surface)
        for path in swabs:
            swab = to_metres(read_swab(path, tip=tip), surface.diagonal, surface.name, unit)
            findings.append(monitor.swab(len(findings), swab.points, target, swab.tip_errors))
    figures = (
        Figure('registration_holds', float(monitor.state is not DriftState.DRIFTED), '',
               ok=monitor.state is not DriftState.DRIFTED),
        Figure('greatest_distance_mm', max(finding.distance for finding in findings) * 1e3, 'mm'),
        Figure('evidence_ratio', findings[-1].evidence, ''),
    )  # fmt: skip
    lines = [finding.message for finding in findings]
    lines.append(f'state               {monitor.state} ({monitor.state.code})')
    return CheckReport(tuple(findings), monitor.state, figures, '\n'.join(lines))
