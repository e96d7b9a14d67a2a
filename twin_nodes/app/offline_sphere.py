"""The centre of a fiducial sphere from digitised or segmented points: what `twin register sphere` does and prints."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.registration.surface_sphere import SphereFit, fit_sphere
from twin_nodes.io.points import read_points

_SCALES = {'m': 1.0, 'mm': 1e-3}
_LARGEST = 0.5  # a sphere wider than this [m] was given in millimetres


@dataclass(frozen=True, eq=False)
class SphereReport:
    """A sphere from a file [m], figures, and text for a terminal."""

    fit: SphereFit
    figures: tuple[Figure, ...]
    text: str


def sphere_of(path: Path, *, unit: str = '', radius_mm: float | None = None) -> SphereReport:
    """Fit a sphere to the points of a file.

    Args:
        path: Points or a mesh.
        unit: 'm' or 'mm'; that of the file, else recognised from the size, when left out.
        radius_mm: Known radius; fitted when not given.

    Raises:
        ConfigError: for a unit that is neither.
        InputError: for a file that cannot be read.
        DegenerateGeometryError: for points on too small a part of a sphere.
    """
    file = read_points(path)
    if unit not in ('', *_SCALES):
        raise ConfigError(f"unit={unit!r} must be 'm' or 'mm'")
    across = float(np.ptp(file.points, axis=0).max())
    chosen = unit or file.unit or ('mm' if across > _LARGEST else 'm')
    said = 'as asked' if unit else 'as the file says' if file.unit else f'as it measures {across:.4g} across'
    fit = fit_sphere(file.points * _SCALES[chosen], radius=None if radius_mm is None else radius_mm * 1e-3)
    sigmas = 1e3 * np.sqrt(np.diag(fit.covariance))
    centre = 1e3 * fit.centre
    lines = [
        f'{path.name}: {len(file.points)} points in {chosen}, {said}',
        *file.notes,
        f'centre {centre[0]:.3f} {centre[1]:.3f} {centre[2]:.3f} mm, σ {np.linalg.norm(sigmas[:3]):.4f} mm',
        f'radius {1e3 * fit.radius:.3f} mm' + (' as given' if radius_mm is not None else f', σ {sigmas[3]:.4f} mm'),
        f'residual {1e3 * fit.sigma:.3f} mm, {int(fit.inliers.sum())} of {len(fit.inliers)} points lie on it',
    ]
    return SphereReport(fit, tuple(_figures(fit)), '\n'.join(lines))


def _figures(fit: SphereFit) -> list[Figure]:
    values = [
        judge(f'centre_{axis}_mm', 1e3 * float(value), 'mm') for axis, value in zip('xyz', fit.centre, strict=True)
    ]
    return [
        *values,
        judge('centre_sigma_mm', 1e3 * float(np.sqrt(np.trace(fit.covariance[:3, :3]))), 'mm'),
        judge('radius_mm', 1e3 * fit.radius, 'mm'),
        judge('residual_mm', 1e3 * fit.sigma, 'mm'),
        judge('inlier_share', float(fit.inliers.mean()), ''),
    ]
