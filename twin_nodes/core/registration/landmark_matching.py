"""Telling which dwell was on which landmark, from the distances between them alone.

Hypotheses come from triples: three dwells and three landmarks whose mutual distances agree give a pose, the pose tells
which other dwells lie on landmarks. Consensus after Fischler and Bolles (1981), but over all triples that agree rather
than a random sample where their number allows. Layouts that look alike after a rotation are told apart by the order in
which landmarks are to be touched, or else are called ambiguous.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, inverse, transform_points
from twin_nodes.core.registration.paired_points import fit_rigid

MAX_TRIPLES = 400
MAX_HYPOTHESES = 20_000
_MIN_SINE = 0.1


@dataclass(frozen=True)
class LandmarkMatch:
    """Which dwell was on which landmark.

    Args:
        pairs: (dwell, landmark) indices, by landmark; empty when nothing fits.
        missing: Names of the landmarks without a dwell.
        unused: Indices of the dwells that were on no landmark.
        residual_rms: Of the matched points after a rigid fit [m]; infinite when nothing fits.
        ambiguous: Whether another assignment fits as well and the order does not decide.
        message: What was found and what to do next, for a person.
    """

    pairs: tuple[tuple[int, int], ...]
    missing: tuple[str, ...]
    unused: tuple[int, ...]
    residual_rms: float
    ambiguous: bool
    message: str

    @property
    def decided(self) -> bool:
        """Whether the pairs may be registered: unambiguous, and four of them, or all of three landmarks.

        Three places among many lie like three of many landmarks by chance; a fourth rarely does.
        """
        return len(self.pairs) >= min(4, len(self.pairs) + len(self.missing)) >= 3 and not self.ambiguous


@dataclass(frozen=True)
class _Hypothesis:
    pairs: tuple[tuple[int, int], ...]
    rms: float

    @property
    def disorder(self) -> int:
        """Number of pairs of dwells touched against the order of the landmarks."""
        landmarks = [landmark for _, landmark in sorted(self.pairs)]
        return sum(a > b for a, b in itertools.combinations(landmarks, 2))


def match_landmarks(
    dwells_patient: Array,
    landmarks_anatomy: Array,
    names: tuple[str, ...] | None = None,
    *,
    tolerance: float = 0.003,
    ordered: bool = True,
) -> LandmarkMatch:
    """Assign dwells to landmarks; dwells may be too many, in any order, or miss some.

    Args:
        dwells_patient: Places where the tip dwelt, in order of time [m], shape (m, 3).
        landmarks_anatomy: Landmarks in the order in which they are to be touched [m], shape (n, 3).
        names: Of the landmarks.
        tolerance: A dwell farther than this from its landmark after the fit is not on it [m].
        ordered: Whether the order of touching may decide between assignments that fit alike.

    Raises:
        InputError: Wrong shapes, NaN, names that do not fit, or a tolerance that is not above 0.
    """
    dwells, landmarks = _points(dwells_patient, 'dwells'), _points(landmarks_anatomy, 'landmarks')
    labels = tuple(names) if names is not None else tuple(f'#{i + 1}' for i in range(len(landmarks)))
    if len(labels) != len(landmarks):
        raise InputError(f'{len(labels)} names for {len(landmarks)} landmarks')
    if not (np.isfinite(tolerance) and tolerance > 0.0):
        raise InputError(f'tolerance={tolerance} m must be above 0')
    found = _hypotheses(dwells, landmarks, tolerance)
    if not found:
        return _nothing(dwells, labels)
    most = max(len(h.pairs) for h in found)
    best_rms = min(h.rms for h in found if len(h.pairs) == most)
    # Residuals of the same size are no evidence: those within half the tolerance, or twice the best, are rivals.
    rivals = [h for h in found if len(h.pairs) == most and h.rms <= max(2.0 * best_rms, 0.5 * tolerance)]
    rivals.sort(key=lambda h: (h.disorder, h.rms) if ordered else (0, h.rms))
    chosen = rivals[0]
    ambiguous = len(rivals) > 1 and not (ordered and rivals[0].disorder < rivals[1].disorder)
    return _describe(chosen, rivals, ambiguous, len(dwells), labels)


def _points(points: Array, what: str) -> Array:
    points = np.asarray(points, float).reshape(-1, 3) if np.size(points) == 0 else np.asarray(points, float)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f'{what} need shape (n, 3), got {points.shape}')
    if not np.isfinite(points).all():
        raise InputError(f'{what} have NaN or Inf', code='NOT_FINITE')
    return points


def _hypotheses(dwells: Array, landmarks: Array, tolerance: float) -> list[_Hypothesis]:
    dwell_distances = np.linalg.norm(dwells[:, None] - dwells[None], axis=-1)
    distances = np.linalg.norm(landmarks[:, None] - landmarks[None], axis=-1)
    seen: dict[tuple[tuple[int, int], ...], _Hypothesis] = {}
    covered: set[tuple[tuple[int, int], ...]] = set()
    tried = most = 0
    for i, j, k in _triples(dwells):
        agree_ij = np.abs(distances - dwell_distances[i, j]) < 2.0 * tolerance
        agree_ik = np.abs(distances - dwell_distances[i, k]) < 2.0 * tolerance
        agree_jk = np.abs(distances - dwell_distances[j, k]) < 2.0 * tolerance
        for matrix in (agree_ij, agree_ik, agree_jk):
            np.fill_diagonal(matrix, False)
        fits = agree_ij[:, :, None] & agree_ik[:, None, :] & agree_jk[None, :, :]
        for a, b, c in np.argwhere(fits).tolist():
            triple = ((i, a), (j, b), (k, c))
            if triple in covered:
                continue  # it would grow into an assignment that is known
            tried += 1
            if tried > MAX_HYPOTHESES:
                return list(seen.values())
            hypothesis = _grow(dwells, landmarks, triple, tolerance, most // 2)
            if hypothesis is not None and hypothesis.pairs not in seen:
                seen[hypothesis.pairs] = hypothesis
                covered.update(itertools.combinations(sorted(hypothesis.pairs), 3))
                most = max(most, len(hypothesis.pairs))
    return list(seen.values())


def _triples(dwells: Array) -> list[tuple[int, int, int]]:
    """Triples of dwells that are not on a line; the widest ones when there are too many."""
    index = np.array(list(itertools.combinations(range(len(dwells)), 3)), int).reshape(-1, 3)
    u, v = dwells[index[:, 1]] - dwells[index[:, 0]], dwells[index[:, 2]] - dwells[index[:, 0]]
    area = np.linalg.norm(np.cross(u, v), axis=1)
    apart = area > _MIN_SINE * np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    index, area = index[apart], area[apart]
    if len(index) > MAX_TRIPLES:
        # A dwell far off makes the widest triples: each dwell is to be in some, so every n-th is taken.
        widest = np.argsort(-area, kind='stable')
        step = len(index) / MAX_TRIPLES
        index = index[widest[[int(n * step) for n in range(MAX_TRIPLES)]]]
    return [(i, j, k) for i, j, k in index.tolist()]


def _grow(
    dwells: Array, landmarks: Array, pairs: tuple[tuple[int, int], ...], tolerance: float, least: int
) -> _Hypothesis | None:
    """Fit the pairs, take in what else lies on landmarks, fit again until nothing changes; None below the least."""
    for _ in range(10):
        dwell_ids, landmark_ids = [p[0] for p in pairs], [p[1] for p in pairs]
        patient_T_anatomy = fit_rigid(dwells[dwell_ids], landmarks[landmark_ids])
        mapped = transform_points(inverse(patient_T_anatomy), dwells)
        gaps = np.linalg.norm(mapped[:, None] - landmarks[None], axis=-1)
        grown = _mutual_nearest(gaps, tolerance)
        if len(grown) < max(3, least):
            return None
        if grown == pairs:
            break
        pairs = grown
    used = landmarks[[p[1] for p in pairs]]
    spread = np.linalg.svd(used - used.mean(axis=0), compute_uv=False)
    if spread[1] < _MIN_SINE * spread[0]:
        return None
    rms = float(np.sqrt(np.mean([gaps[p] ** 2 for p in pairs])))
    return _Hypothesis(pairs, rms)


def _mutual_nearest(gaps: Array, tolerance: float) -> tuple[tuple[int, int], ...]:
    """Pair each landmark with the dwell nearest to it, when it is nearest to that dwell as well."""
    pairs = []
    for landmark in range(gaps.shape[1]):
        dwell = int(np.argmin(gaps[:, landmark]))
        if gaps[dwell, landmark] < tolerance and int(np.argmin(gaps[dwell])) == landmark:
            pairs.append((dwell, landmark))
    return tuple(pairs)


def _nothing(dwells: Array, labels: tuple[str, ...]) -> LandmarkMatch:
    if len(dwells) < 3:
        message = f'{len(dwells)} of {len(labels)} places touched, at least 3 are needed'
    else:
        message = f'{len(dwells)} places touched, but no 3 of them lie like 3 of the landmarks: is the tip calibrated?'
    return LandmarkMatch((), labels, tuple(range(len(dwells))), np.inf, False, message)


def _describe(
    chosen: _Hypothesis, rivals: list[_Hypothesis], ambiguous: bool, count: int, labels: tuple[str, ...]
) -> LandmarkMatch:
    touched = {landmark for _, landmark in chosen.pairs}
    used = {dwell for dwell, _ in chosen.pairs}
    missing = tuple(label for i, label in enumerate(labels) if i not in touched)
    unused = tuple(i for i in range(count) if i not in used)
    message = f'{len(chosen.pairs)} of {len(labels)} landmarks found'
    if ambiguous:
        message += f', but {len(rivals)} assignments fit alike: touch another landmark that breaks the symmetry'
    elif len(rivals) > 1:
        message += f'; {len(rivals)} assignments fit alike, the order of touching decided'
    if missing:
        message += f'; missing: {", ".join(missing)}'
    return LandmarkMatch(chosen.pairs, missing, unused, chosen.rms, ambiguous, message)
