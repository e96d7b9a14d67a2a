"""Why paired points do not fit: mirrored data, another unit, or an axis of wrong length."""

import numpy as np

from twin_nodes.core.geometry.se3 import Array

EXPLAINED = 0.3
_ITERATIONS = 200


def explain_residual(points_patient: Array, points_anatomy: Array, fre: float) -> str:
    """Return a sentence on what explains a poor fit of paired points (n, 3) [m], or ''.

    An explanation counts when it takes the RMS residual below 0.3 of that of the rigid fit; the one free number of a
    scale, or the three of an anisotropic one, do not do that by chance.
    """
    patient = points_patient - points_patient.mean(axis=0)
    anatomy = points_anatomy - points_anatomy.mean(axis=0)
    limit = EXPLAINED * fre
    scale, residual = _isotropic(patient, anatomy)
    if residual < limit:
        return _scale_sentence(scale)
    if _rms(patient - anatomy @ _orthogonal(patient, anatomy).T) < limit:
        return 'the points fit when mirrored: left and right are exchanged in one of the two sets'
    if len(patient) < 4:
        return ''
    scales, residual = _anisotropic(patient, anatomy)
    if residual >= limit:
        return ''
    axis = int(np.argmax(np.abs(np.log(scales))))
    percent = abs(1.0 / scales[axis] - 1.0) * 100.0
    word = 'short' if scales[axis] > 1.0 else 'long'
    return (
        f'axis {"xyz"[axis]} of the anatomy looks {percent:.0f} % too {word}: check the slice spacing of the image, '
        'or the calibration of the tracker'
    )


def _scale_sentence(scale: float) -> str:
    for factor in (1000.0, 0.001):
        if abs(np.log(scale / factor)) < 0.2:
            small, large = ('anatomy', 'patient') if factor > 1.0 else ('patient', 'anatomy')
            return f'the points of the {large} are 1000 times those of the {small}: unit? millimetres taken as metres'
    return (
        f'the touched points are {(scale - 1.0) * 100.0:+.1f} % in size against the anatomy: check its spacing or unit'
    )


def _rms(residuals: Array) -> float:
    return float(np.sqrt((residuals**2).sum(axis=1).mean()))


def _rotation(patient: Array, anatomy: Array) -> Array:
    u, _, vt = np.linalg.svd(patient.T @ anatomy)
    return np.asarray(u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt)


def _orthogonal(patient: Array, anatomy: Array) -> Array:
    u, _, vt = np.linalg.svd(patient.T @ anatomy)
    return np.asarray(u @ vt)


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
