"""Why paired points do not fit: mirrored data, another unit, an axis of wrong length, or two names exchanged."""

import itertools

import numpy as np

from twin_nodes.core.geometry.se3 import Array

EXPLAINED = 0.3
_CHANCE = 1e-4
_ITERATIONS = 200


def explain_residual(points_patient: Array, points_anatomy: Array, fre: float, names: tuple[str, ...]) -> str:
    """Return a sentence on what explains a poor fit of named paired points (n, 3) [m], or ''.

    A scale counts when the F-test says that its free numbers, one or three, do not lower the squared residual so far
    by chance (0.01 %). A mirror image, or an exchange of two names, has no number more: it counts when it takes the RMS
    residual below 0.3 of itself.
    """
    patient = points_patient - points_patient.mean(axis=0)
    anatomy = points_anatomy - points_anatomy.mean(axis=0)
    freedom = 3 * len(patient) - 6
    scale, residual = _isotropic(patient, anatomy)
    scales, least = _anisotropic(patient, anatomy) if len(patient) >= 4 else (np.full(3, scale), residual)
    # a set that is long along one axis is explained by one scale too, but less well
    if _explains(fre, residual, 1, freedom) and not _explains(residual, least, 2, freedom - 1):
        return _scale_sentence(scale)
    mirrored = _rms(patient - anatomy @ _orthogonal(patient, anatomy).T)
    (first, second), exchanged = _exchanged(patient, anatomy)
    if mirrored < EXPLAINED * fre and mirrored <= exchanged:
        return 'the points fit when mirrored: left and right are exchanged in one of the two sets'
    if len(patient) < 4:
        return ''
    if exchanged < EXPLAINED * fre:
        return f'the points fit when {names[first]} and {names[second]} are exchanged: was one touched for the other?'
    if not _explains(fre, least, 3, freedom):
        return ''
    axis = int(np.argmax(np.abs(np.log(scales))))
    percent = abs(1.0 / scales[axis] - 1.0) * 100.0
    word = 'short' if scales[axis] > 1.0 else 'long'
    return (
        f'axis {"xyz"[axis]} of the anatomy looks {percent:.0f} % too {word}: check the slice spacing of the image, '
        'or the calibration of the tracker'
    )


def _explains(before: float, after: float, numbers: int, freedom: int) -> bool:
    """Whether free numbers lower an RMS residual from before to after by more than chance does."""
    from scipy.special import fdtrc

    left = freedom - numbers
    if after >= 0.6 * before or left < 1:
        return False
    ratio = (before**2 - after**2) / numbers / max(after**2 / left, 1e-30)
    return bool(fdtrc(numbers, left, ratio) < _CHANCE)


def _scale_sentence(scale: float) -> str:
    for factor in (1000.0, 0.001):
        if abs(np.log(scale / factor)) < 0.2:
            small, large = ('anatomy', 'patient') if factor > 1.0 else ('patient', 'anatomy')
            return f'the points of the {large} are 1000 times those of the {small}: unit? millimetres taken as metres'
    percent = abs(scale - 1.0) * 100.0
    word = 'larger' if scale > 1.0 else 'smaller'
    return f'the touched points are {percent:.1f} % {word} than those of the anatomy: check its spacing or unit'


def _rms(residuals: Array) -> float:
    return float(np.sqrt((residuals**2).sum(axis=1).mean()))


def _rotation(patient: Array, anatomy: Array) -> Array:
    u, _, vt = np.linalg.svd(patient.T @ anatomy)
    return np.asarray(u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt)


def _orthogonal(patient: Array, anatomy: Array) -> Array:
    u, _, vt = np.linalg.svd(patient.T @ anatomy)
    return np.asarray(u @ vt)


def _exchanged(patient: Array, anatomy: Array) -> tuple[tuple[int, int], float]:
    """Return the two points whose exchange lowers the residual most, and the residual left."""
    pairs = list(itertools.combinations(range(len(patient)), 2))
    orders = np.tile(np.arange(len(patient)), (len(pairs), 1))
    for row, (i, j) in enumerate(pairs):
        orders[row, [i, j]] = j, i
    # Σ |p − R a|² = Σ |p|² + Σ |a|² − 2 (s₁ + s₂ ± s₃), with s the singular values of Σ p aᵀ (Arun 1987).
    moments = np.einsum('bni,nj->bij', patient[orders], anatomy)
    values = np.linalg.svd(moments, compute_uv=False)
    values[:, 2] *= np.sign(np.linalg.det(moments))
    squares = (patient**2).sum() + (anatomy**2).sum() - 2.0 * values.sum(axis=1)
    best = int(np.argmin(squares))
    return pairs[best], float(np.sqrt(max(squares[best], 0.0) / len(patient)))


def _isotropic(patient: Array, anatomy: Array) -> tuple[float, float]:
    """Scale of the patient's points over the anatomy's (Horn 1987, symmetric) and the residual left."""
    scale = float(np.sqrt((patient**2).sum() / (anatomy**2).sum()))
    rotation = _rotation(patient, anatomy)
    return scale, _rms(patient - scale * anatomy @ rotation.T)


def _anisotropic(patient: Array, anatomy: Array) -> tuple[Array, float]:
    """Scales (3,) along the axes of the anatomy and the residual left, by alternating least squares."""
    scales = np.ones(3)
    power = (anatomy**2).sum(axis=0)
    if power.min() < 1e-4 * power.max():  # a flat set says nothing of the axis across it
        return scales, np.inf
    rotation = _rotation(patient, anatomy)
    for _ in range(_ITERATIONS):
        turned = patient @ rotation
        updated = np.maximum((anatomy * turned).sum(axis=0) / power, 1e-3)
        rotation = _rotation(patient, anatomy * updated)
        moved, scales = float(np.abs(updated - scales).max()), updated
        if moved < 1e-9:
            break
    return scales, _rms(patient - (anatomy * scales) @ rotation.T)
