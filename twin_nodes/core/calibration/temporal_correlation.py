"""The coarse time offset of two speed signals: normalised correlation over all lags, with gaps left out.

Masked normalised cross-correlation by FFT after Padfield 2012, "Masked object registration in the Fourier domain",
IEEE Trans. Image Process. 21(5), in one dimension.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.temporal_stream import Mask
from twin_nodes.core.geometry.se3 import Array

_FLOOR = 1e-9
_ALIKE = 0.02  # correlations above 0.99 differ by how the speeds were sampled


@dataclass(frozen=True, eq=False)
class Correlation:
    """Correlation of two signals over their lag.

    Args:
        lags: Grid steps by which the second signal is moved later, shape (m,).
        coefficients: Pearson's coefficient where both are known; −1 where the overlap is too short, shape (m,).
        overlaps: Grid points at which both are known, shape (m,).
    """

    lags: Array
    coefficients: Array
    overlaps: Array


@dataclass(frozen=True)
class Peak:
    """The best lag and its rival.

    Args:
        lag: Best lag [grid steps], refined by a parabola.
        coefficient: Correlation there.
        overlap: Grid points in common there.
        rival_lag: The best lag outside the peak [grid steps].
        rival_coefficient: Correlation there; −1 when there is none.
    """

    lag: float
    coefficient: float
    overlap: float
    rival_lag: float
    rival_coefficient: float

    @property
    def ambiguity(self) -> float:
        """Unexplained variance at the peak over that at its rival: near 1 when both explain the motion alike."""
        if self.rival_coefficient <= 0.0:
            return 0.0
        return (1.0 - self.coefficient**2 + _ALIKE) / (1.0 - self.rival_coefficient**2 + _ALIKE)


def correlate(first: Array, first_known: Mask, second: Array, second_known: Mask, *, min_overlap: int) -> Correlation:
    """Correlate two signals (n,), (m,) over all lags at which at least `min_overlap` points are known in both."""
    size = 1 << (len(first) + len(second) - 2).bit_length()
    mask_a, mask_b = first_known.astype(float), second_known.astype(float)
    a = np.where(first_known, first - first[first_known].mean(), 0.0)
    b = np.where(second_known, second - second[second_known].mean(), 0.0)
    spectra_a = [np.fft.rfft(signal, size) for signal in (mask_a, a, a * a)]
    spectra_b = [np.conj(np.fft.rfft(signal, size)) for signal in (mask_b, b, b * b)]
    lags = np.arange(-(len(second) - 1), len(first))

    def product(i: int, j: int) -> Array:
        return np.asarray(np.fft.irfft(spectra_a[i] * spectra_b[j], size)[lags % size])

    overlaps = np.round(product(0, 0))
    count = np.maximum(overlaps, 1.0)
    sum_a, sum_b = product(1, 0), product(0, 1)
    variance_a = product(2, 0) - sum_a**2 / count
    variance_b = product(0, 2) - sum_b**2 / count
    shared = product(1, 1) - sum_a * sum_b / count
    least = _FLOOR * np.sqrt(max(float((a * a).sum()) * float((b * b).sum()), 1e-300))
    scale = np.sqrt(np.maximum(variance_a, 0.0) * np.maximum(variance_b, 0.0))
    usable = (overlaps >= min_overlap) & (scale > least)
    coefficients = np.where(usable, shared / np.where(usable, scale, 1.0), -1.0)
    return Correlation(lags.astype(float), np.clip(coefficients, -1.0, 1.0), overlaps)


def find_peak(correlation: Correlation) -> Peak | None:
    """Return the most likely lag, or None when no lag correlates at all.

    With Gaussian errors the likelihood of a lag is −n/2 log(1 − r²): a longer overlap makes the same r weigh more.
    """
    r, n = correlation.coefficients, correlation.overlaps
    weight = np.where(r > 0.0, -0.5 * n * np.log(1.0 - np.clip(r, 0.0, 1.0 - _FLOOR) ** 2), 0.0)
    best = int(weight.argmax())
    if weight[best] <= 0.0:
        return None
    low = best
    while low > 0 and r[low - 1] > 0.5 * r[best]:
        low -= 1
    high = best
    while high < len(r) - 1 and r[high + 1] > 0.5 * r[best]:
        high += 1
    outside = weight.copy()
    outside[low : high + 1] = -1.0
    rival = int(outside.argmax())
    has_rival = outside[rival] > 0.0
    shift = 0.0
    if 0 < best < len(r) - 1 and min(r[best - 1], r[best + 1]) > -1.0:
        curvature = r[best - 1] - 2.0 * r[best] + r[best + 1]
        shift = float(np.clip(0.5 * (r[best - 1] - r[best + 1]) / curvature, -0.5, 0.5)) if curvature < 0.0 else 0.0
    return Peak(
        float(correlation.lags[best]) + shift,
        float(r[best]),
        float(n[best]),
        float(correlation.lags[rival]) if has_rival else 0.0,
        float(r[rival]) if has_rival else -1.0,
    )
