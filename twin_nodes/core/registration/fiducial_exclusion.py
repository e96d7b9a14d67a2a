"""Leaving out fiducials that do not fit the others, with their names.

A fiducial that was displaced is described by the mean-shift model: three numbers more, its displacement, lower the
squared residual. Whether by more than chance says F(3, ν) where the localisation error is unknown, χ²(3) where it is
known (Cook and Weisberg 1982, section 2.2.2); the chance of a false alarm is shared between the fiducials and between
the numbers of bad ones that are tried (Bonferroni). Several are found by Rosner's procedure (1983): the largest number
whose last member still stands out, which keeps two bad ones from hiding each other. Subsets are compared by a
linearised fit, the best of each size is fitted exactly.
"""

from dataclasses import dataclass, replace

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array, transform_points
from twin_nodes.core.registration.paired_points import (
    PairedPointConfig,
    PairedPointResult,
    Verdict,
    checked_pairs,
    fit_rigid,
    pair_noise,
    point_jacobians,
    refine_pose,
    register_paired_points,
)

_BEAM = 64
_FURTHER = 0.2  # of the chance of a false alarm is added for all numbers of bad fiducials above one
_CONSISTENT = 1e-3


@dataclass(frozen=True)
class ExclusionConfig:
    """When a fiducial that does not fit is left out."""

    enabled: bool = setting('Whether fiducials that do not fit are left out and named.', True)
    max_share: float = setting('Largest share of the fiducials that is left out.', 0.25, minimum=0.0, maximum=0.34)
    false_alarm: float = setting('Chance to leave one out when none is bad.', 0.01, minimum=1e-6, maximum=0.2)
    min_displacement: float = setting(
        'A fiducial less far off than this does no harm and is kept.', 0.001, unit='m', minimum=0.0, maximum=0.1
    )
    min_kept: int = setting('Fiducials that are kept at least.', 4, minimum=4)


@dataclass(frozen=True)
class _Level:
    """The best choice of k fiducials to leave out and the weighted squared residual of the rest."""

    out: tuple[int, ...]
    cost: float


@dataclass(frozen=True)
class _Pairs:
    patient: Array
    anatomy: Array
    noise: Array
    weighted: bool

    def fit(self, keep: list[int]) -> tuple[Array, float]:
        """Return patient_T_anatomy (4, 4) of some of the pairs and their weighted squared residual."""
        patient, anatomy, noise = self.patient[keep], self.anatomy[keep], self.noise[keep]
        pose = fit_rigid(patient, anatomy)
        if self.weighted:
            pose = refine_pose(pose, patient, anatomy, noise)
        residuals = patient - transform_points(pose, anatomy)
        return pose, float((residuals * np.linalg.solve(noise, residuals[..., None])[..., 0]).sum())


def register_excluding(
    points_patient: Array,
    points_anatomy: Array,
    *,
    names: tuple[str, ...] | None = None,
    covariances: Array | None = None,
    fle_rms: float | None = None,
    common: Array | None = None,
    config: PairedPointConfig | None = None,
    exclusion: ExclusionConfig | None = None,
) -> PairedPointResult:
    """Register as `register_paired_points` does, leaving out fiducials that do not fit the others.

    What is left out is named in `excluded` and in the reasons, and the verdict is WARN at best. Nothing is left out
    where a mirrored set or a scale explains the whole, or where fewer than five fiducials cannot tell which is wrong;
    the verdict is REFUSE where more fiducials do not fit than may be left out.

    Args:
        points_patient: Touched points [m], shape (n, 3).
        points_anatomy: The same points in the anatomy [m], shape (n, 3).
        names: Of the fiducials.
        covariances: Of each pair's error in the patient frame [m²], shape (n, 3, 3).
        fle_rms: Known fiducial localisation error, RMS of its length [m].
        common: Errors that all touched points share [m], shape (n, 3, k).
        config: Limits of the registration.
        exclusion: Limits of leaving out.

    Raises:
        InputError: As `register_paired_points`.
        DegenerateGeometryError: As `register_paired_points`.
    """
    exclusion = exclusion or ExclusionConfig()
    everything = register_paired_points(
        points_patient, points_anatomy, names=names, covariances=covariances, fle_rms=fle_rms, common=common,
        config=config,
    )  # fmt: skip
    count = len(everything.names)
    most = min(int(exclusion.max_share * count), count - exclusion.min_kept)
    if not exclusion.enabled or most < 1 or everything.cause:
        return everything
    patient, anatomy, labels = checked_pairs(points_patient, points_anatomy, names)
    noise = pair_noise(covariances, fle_rms, count)
    pairs = _Pairs(patient, anatomy, noise, covariances is not None)
    known = covariances is not None or fle_rms is not None
    out = _bad_fiducials(pairs, most, exclusion, known=known)
    if len(out) > most:
        reason = f'more than {most} of {count} fiducials do not fit the others: touch all of them again'
        return replace(everything, verdict=Verdict.REFUSE, reasons=(*everything.reasons, reason))
    if not out:
        return everything
    keep = [i for i in range(count) if i not in out]
    try:
        rest = register_paired_points(
            patient[keep],
            anatomy[keep],
            names=tuple(labels[i] for i in keep),
            covariances=None if covariances is None else np.asarray(covariances)[keep],
            fle_rms=fle_rms,
            common=None if common is None else np.asarray(common)[keep],
            config=config,
        )
    except DegenerateGeometryError as error:
        reason = f'{_listed(labels, out)} does not fit, and without it {error}'
        return replace(everything, verdict=Verdict.REFUSE, reasons=(*everything.reasons, reason))
    return _without(rest, patient, anatomy, labels, out)


def _without(
    rest: PairedPointResult, patient: Array, anatomy: Array, labels: tuple[str, ...], out: tuple[int, ...]
) -> PairedPointResult:
    gaps = np.linalg.norm(patient - transform_points(rest.patient_T_anatomy, anatomy), axis=1)
    excluded = {labels[i]: float(gaps[i]) for i in out}
    reasons = [f'{name} is {gap * 1e3:.3g} mm off and was left out: touch it again' for name, gap in excluded.items()]
    verdict = Verdict.WARN if rest.verdict is Verdict.ACCEPT else rest.verdict
    return replace(rest, verdict=verdict, reasons=(*reasons, *rest.reasons), excluded=excluded)


def _listed(labels: tuple[str, ...], out: tuple[int, ...]) -> str:
    return ', '.join(labels[i] for i in out)


def _bad_fiducials(pairs: _Pairs, most: int, config: ExclusionConfig, *, known: bool) -> tuple[int, ...]:
    """Return the fiducials that stand out; more than `most` of them say that there are too many."""
    levels = _levels(pairs, most + 1)
    freedom = 3 * len(pairs.patient) - 6
    if known:
        number = _number(levels, freedom, config.false_alarm, known=True)
        if _tail_chi(freedom - 3 * number, levels[number].cost) < _CONSISTENT:
            known = False  # the stated error does not explain what is left: judge by the residuals themselves
    if not known:
        number = _number(levels, freedom, config.false_alarm, known=False)
    if number > most:
        return levels[number].out
    while number and not _displaced(pairs, levels[number].out, config.min_displacement):
        number -= 1
    return levels[number].out


def _displaced(pairs: _Pairs, out: tuple[int, ...], least: float) -> bool:
    """Whether each of them lies farther than the least displacement from where the others put it."""
    keep = [i for i in range(len(pairs.patient)) if i not in out]
    pose, _ = pairs.fit(keep)
    gaps = np.linalg.norm(pairs.patient - transform_points(pose, pairs.anatomy), axis=1)
    return bool(gaps[list(out)].min() >= least)


def _number(levels: list[_Level], freedom: int, false_alarm: float, *, known: bool) -> int:
    """Return the largest number whose last member stands out from the rest (Rosner 1983)."""
    for number in range(len(levels) - 1, 0, -1):
        gained = levels[number - 1].cost - levels[number].cost
        left = freedom - 3 * number
        if known:
            chance = _tail_chi(3, gained)
        else:
            chance = _tail_f(3, left, gained / 3.0 / max(levels[number].cost / left, 1e-300))
        share = 1.0 if number == 1 else _FURTHER / (len(levels) - 2)
        rivals = freedom // 3 + 3 - number
        if chance < false_alarm * share / rivals:
            return number
    return 0


def _tail_chi(freedom: int, value: float) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(freedom, max(value, 0.0)))


def _tail_f(numbers: int, freedom: int, value: float) -> float:
    from scipy.special import fdtrc

    return float(fdtrc(numbers, freedom, max(value, 0.0)))


def _levels(pairs: _Pairs, most: int) -> list[_Level]:
    """Return the best choice to leave out 0, 1, … `most` fiducials; exhaustive for two, a beam of 64 beyond."""
    count = len(pairs.patient)
    pose, cost = pairs.fit(list(range(count)))
    levels = [_Level((), cost)]
    beam: list[tuple[int, ...]] = [()]
    for number in range(1, most + 1):
        if count - number < 3 or 3 * count - 6 - 3 * number < 3:
            break
        grown = sorted({tuple(sorted((*out, i))) for out in beam for i in range(count) if i not in out})
        costs = _linearised_costs(pairs, pose, np.array(grown))
        order = np.argsort(costs, kind='stable')[:_BEAM]
        beam = [grown[i] for i in order.tolist()]
        pose, cost = pairs.fit([i for i in range(count) if i not in beam[0]])
        levels.append(_Level(beam[0], min(cost, levels[-1].cost)))
    return levels


def _linearised_costs(pairs: _Pairs, pose: Array, out: Array) -> Array:
    """Weighted squared residual (b,) of what is left without the fiducials out (b, k), linearised about a pose."""
    residuals = pairs.patient - transform_points(pose, pairs.anatomy)
    jacobians = point_jacobians(pose, pairs.anatomy)
    weighted = np.linalg.solve(pairs.noise, jacobians)
    information = np.einsum('nij,nik->njk', jacobians, weighted)
    gradient = np.einsum('nij,ni->nj', weighted, residuals)
    square = (residuals * np.linalg.solve(pairs.noise, residuals[..., None])[..., 0]).sum(axis=1)
    left_information = information.sum(axis=0) - information[out].sum(axis=1)
    left_gradient = gradient.sum(axis=0) - gradient[out].sum(axis=1)
    left_square = square.sum() - square[out].sum(axis=1)
    scale = np.sqrt(np.diag(information.sum(axis=0)))
    eigenvalues, axes = np.linalg.eigh(left_information / np.outer(scale, scale))
    along = np.einsum('bij,bi->bj', axes, left_gradient / scale)
    explained = np.where(eigenvalues > 1e-9, along**2 / np.maximum(eigenvalues, 1e-9), 0.0).sum(axis=1)
    return np.asarray(left_square - explained)
