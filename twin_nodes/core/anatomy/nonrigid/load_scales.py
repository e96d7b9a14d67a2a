"""How large the load at each place is: a few are large, most are small.

A pack, a ligament, a retractor: what deforms an organ acts in a few places. Loads that are drawn from a normal
distribution of one size act everywhere alike, and blur it. With Student's t in its stead each place has a scale of its
own, s² ~ scaled inverse χ²(ν, b²), b being the one expected. The scales are found by expectation and maximisation
beside the fit (Lange, Little and Taylor 1989): with the loads' mean m and covariance V given the amounts of the modes,
s² = (ν b² + |m|² + tr V)/(ν + 3).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

from twin_nodes.core.anatomy.nonrigid import row_kernels
from twin_nodes.core.anatomy.nonrigid.compliance import Compliance
from twin_nodes.core.geometry.se3 import Array

_TIE = 1e-6  # keeps amounts that no load reaches finite
_LARGEST = 12.0  # a load over the one that is expected at its place: all of the organ's loads in one


def precision_of(compliance: Compliance, scales: Array) -> Array:
    """Return the precision (r, r) of the modes' amounts where places bear loads of such scales (p,)."""
    spread = compliance.spread(scales)
    spread.flat[:: compliance.count + 1] += _TIE
    return inverse_of(factor_of(spread))


def factor_of(matrix: Array) -> Array:
    """Return the Cholesky factor of a matrix, lower; what lies above it is not cleared.

    Raises:
        LinAlgError: where the matrix is not positive definite.
    """
    factor, failed = dpotrf(matrix.T, lower=1, clean=0)
    if failed:
        raise np.linalg.LinAlgError(f'not positive definite at {failed} of {len(matrix)}')
    return np.asarray(factor)


def inverse_of(lower: Array) -> Array:
    """Return the inverse of a matrix whose Cholesky factor, lower, is given."""
    filled, _ = dpotri(lower, lower=1)
    row_kernels.mirror(filled)
    return np.asarray(filled)


def scales_given(
    compliance: Compliance,
    expected: Array,
    scales: Array,
    precision: Array,
    amounts: Array,
    covariance: Array,
    freedom: float,
) -> Array:
    """Return the scale of the load at each place, given what is known of the amounts of the modes.

    Args:
        compliance: The organ.
        expected: Scale that is expected beforehand, shape (p,).
        scales: The one so far, shape (p,).
        precision: Of the amounts with the scales so far, shape (r, r).
        amounts: Of the modes, over the amplitude, shape (r,).
        covariance: Of these, shape (r, r).
        freedom: Degrees of freedom ν of Student's distribution.
    """
    borne = np.repeat(scales**2, 3)
    weighted = borne[:, None] * compliance.mixture[: len(borne)]
    mean = weighted @ (precision @ amounts)
    told = precision - precision @ covariance @ precision
    variance = np.maximum(borne - np.sum((weighted @ told) * weighted, axis=1), 0.0)
    squared = (mean**2 + variance).reshape(-1, 3).sum(axis=1)
    found = np.sqrt((freedom * expected**2 + squared) / (freedom + 3.0))
    return np.asarray(np.minimum(found, _LARGEST))
