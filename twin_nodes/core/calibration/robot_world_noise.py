"""What is left over between two tied streams: the noise of poses, the jitter of stamps, and outliers.

A residual is r = e + v s: e has one covariance in the axes of the eye (both streams' noise carried there), and s is the
error of the stamps, which shows along the velocity v. Stamps that were rounded to 10 ms, or taken at arrival, are the
larger part as soon as the body moves. Both are estimated by expectation–maximisation (Dempster, Laird and Rubin 1977).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv

from twin_nodes.core.calibration.temporal_stream import Mask
from twin_nodes.core.geometry.covariance import TO_SIGMA
from twin_nodes.core.geometry.se3 import Array

_FLOOR = 1e-9
_CORE_SHARE = 0.6
_KEEP_PROBABILITY = 0.9999
_CORE_ROUNDS = 10
_KEEP_ROUNDS = 20
_EM_STEPS = 3
_PLAIN_SAMPLES = 40.0
_JITTER_EVIDENCE = 3.0  # of log likelihood: one in a hundred streams without jitter reaches it


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise of a pair.

    Args:
        covariance: Of the residual of a body at rest, in the axes of the eye, shape (r, r).
        jitter: Standard deviation of the difference of the stamps' errors [s].
    """

    covariance: Array
    jitter: float

    def scaled(self, factor: float) -> 'Noise':
        """Return the noise with its variances times a factor."""
        return Noise(self.covariance * factor, self.jitter * float(np.sqrt(factor)))


@dataclass(frozen=True, eq=False)
class NoiseFit:
    """Noise and outliers of residuals (n, r).

    Args:
        noise: Of the pairs that fit.
        weights: Inverse covariance of each residual, shape (n, r, r).
        keep: Which pairs fit, shape (n,).
    """

    noise: Noise
    weights: Array
    keep: Mask


def fit_noise(errors: Array, velocities: Array | None, unknowns: int, start: Noise | None = None) -> NoiseFit:
    """Estimate the noise of residuals (n, r) and say which of them are outliers.

    The scatter of the 60 % that lie nearest, scaled to the median of χ² (concentration steps of the minimum covariance
    determinant, Rousseeuw and Van Driessen 1999), says who is inside; the noise of those is then the estimate.

    Args:
        errors: Residuals, shape (n, r).
        velocities: What a unit of stamp error adds to each residual, shape (n, r); None when there are no stamps.
        unknowns: Parameters that were fitted to the residuals.
        start: Noise to begin with, such as that of the step before.
    """
    count, rows = errors.shape
    limit = chi2_quantile(_KEEP_PROBABILITY, rows)
    median = chi2_quantile(0.5, rows)
    core = start or _rough(errors, velocities)
    for _ in range(_CORE_ROUNDS):
        distance = _distances(errors, _inverse(core, velocities, count))
        nearest = distance <= np.quantile(distance, _CORE_SHARE)
        core = _em_step(core, errors, velocities, nearest)
        distance = _distances(errors, _inverse(core, velocities, count))
        core = core.scaled(max(float(np.median(distance)) / median, 1e-6))
    keep = _distances(errors, _inverse(core, velocities, count)) <= limit
    noise = core
    for _ in range(_KEEP_ROUNDS):
        for _ in range(_EM_STEPS):
            noise = _em_step(noise, errors, velocities, keep)
        updated = _distances(errors, _inverse(noise, velocities, count)) <= limit
        if (updated == keep).all() or updated.sum() < max(0.4 * count, unknowns):
            break
        keep = updated
    noise = _without_needless_jitter(noise, errors, velocities, keep)
    freedom = max(float(keep.sum()) - unknowns / rows, 1.0)
    noise = noise.scaled(float(keep.sum()) / freedom)
    return NoiseFit(noise, _inverse(noise, velocities, count), keep)


def apply_noise(noise: Noise, errors: Array, velocities: Array | None) -> NoiseFit:
    """Weigh residuals (n, r) by a noise that is known, and say which are outliers under it."""
    weights = _inverse(noise, velocities, len(errors))
    return NoiseFit(noise, weights, _distances(errors, weights) <= chi2_quantile(_KEEP_PROBABILITY, errors.shape[1]))


def chi2_quantile(probability: float, freedom: int) -> float:
    """Return a quantile of the χ² distribution."""
    return float(2.0 * gammaincinv(0.5 * freedom, probability))


def _rough(errors: Array, velocities: Array | None) -> Noise:
    """Begin with the slower half of the pairs for the noise, and with all for the jitter."""
    if velocities is None:
        scale = np.median(np.abs(errors), axis=0) * TO_SIGMA
        return Noise(np.diag(scale**2 + _FLOOR**2), 0.0)
    speeds = np.linalg.norm(velocities, axis=1)
    slow = speeds <= np.median(speeds)
    variances = (np.median(np.abs(errors[slow]), axis=0) * TO_SIGMA) ** 2 + _FLOOR**2
    weighted = velocities / variances
    along = (weighted * errors).sum(axis=1) / np.maximum((weighted * velocities).sum(axis=1), 1e-30)
    return Noise(np.diag(variances), float(np.median(np.abs(along[~slow]))) if (~slow).any() else 0.0)


def _without_needless_jitter(noise: Noise, errors: Array, velocities: Array | None, keep: Mask) -> Noise:
    """Drop the jitter where the likelihood does not ask for it; expectation–maximisation never quite reaches zero."""
    if velocities is None or noise.jitter == 0.0:
        return noise
    still = _em_step(Noise(noise.covariance, 0.0), errors, None, keep)
    used, moved = errors[keep], velocities[keep]
    gain = _log_likelihood(noise, used, moved) - _log_likelihood(still, used, None)
    return noise if gain > _JITTER_EVIDENCE else still


def _log_likelihood(noise: Noise, errors: Array, velocities: Array | None) -> float:
    weights = _inverse(noise, velocities, len(errors))
    log_weight = np.linalg.slogdet(weights)[1]
    return 0.5 * float((np.broadcast_to(log_weight, len(errors)) - _distances(errors, weights)).sum())


def _em_step(noise: Noise, errors: Array, velocities: Array | None, chosen: Mask) -> Noise:
    used = errors[chosen]
    floor = np.eye(errors.shape[1]) * _FLOOR**2
    if velocities is None or noise.jitter == 0.0:
        return Noise(_shrunk(used.T @ used / len(used), len(used)) + floor, 0.0)
    v = velocities[chosen]
    variance = noise.jitter**2
    gain = variance * np.einsum('nrs,ns->nr', _inverse(noise, v, len(v)), v)
    mean = (gain * used).sum(axis=1)
    spread = np.maximum(variance * (1.0 - (gain * v).sum(axis=1)), 0.0)
    rest = used - v * mean[:, None]
    covariance = (rest.T @ rest + (v * spread[:, None]).T @ v) / len(used)
    return Noise(_shrunk(covariance, len(used)) + floor, float(np.sqrt(np.mean(mean**2 + spread))))


def _shrunk(covariance: Array, count: int) -> Array:
    """Draw a covariance (r, r) of few residuals to one that is isotropic in position and in rotation.

    Weights from a whole covariance of a few dozen samples fit their accidents (Ledoit and Wolf 2004); the pull is that
    of forty samples.
    """
    blocks = len(covariance) // 3
    plain = np.zeros_like(covariance)
    for block in range(blocks):
        inside = slice(3 * block, 3 * block + 3)
        plain[inside, inside] = np.eye(3) * np.trace(covariance[inside, inside]) / 3.0
    share = _PLAIN_SAMPLES / (_PLAIN_SAMPLES + count)
    return np.asarray((1.0 - share) * covariance + share * plain)


def _inverse(noise: Noise, velocities: Array | None, count: int) -> Array:
    """Inverse covariances (n, r, r), the jitter by Sherman and Morrison's formula."""
    inverse = np.linalg.inv(noise.covariance)
    alike = np.broadcast_to(inverse, (count, *inverse.shape))
    if velocities is None or noise.jitter == 0.0:
        return alike
    pulled = velocities @ inverse
    share = noise.jitter**2 / (1.0 + noise.jitter**2 * (pulled * velocities).sum(axis=1))
    return np.asarray(alike - share[:, None, None] * pulled[:, :, None] * pulled[:, None, :])


def _distances(errors: Array, weights: Array) -> Array:
    """Squared Mahalanobis distances (n,)."""
    return np.asarray(np.einsum('nr,nrs,ns->n', errors, weights, errors))
