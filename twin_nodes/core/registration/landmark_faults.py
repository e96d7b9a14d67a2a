"""Why touched places do not lie like the landmarks: a scale, one axis of another length, a mirror, another unit."""

from collections.abc import Iterator

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.registration.fiducial_faults import explain_residual
from twin_nodes.core.registration.landmark_matching import match_landmarks
from twin_nodes.core.registration.paired_points import fit_rigid

_LEAST = 5  # landmarks: fewer lie like others by chance once they may be stretched
_STEP = 1.04
_STEPS = 9  # up to 1.42 and down to 0.70


def explain_mismatch(
    touched_patient: Array, landmarks_anatomy: Array, names: tuple[str, ...], *, tolerance: float, found: int
) -> str:
    """Return a sentence on what makes all landmarks fit, or ''.

    Which place is which landmark is not known, so the landmarks are stretched until all of them are found; the pairs
    then tell the fault by themselves.

    Args:
        touched_patient: Where the tip dwelt [m], shape (m, 3).
        landmarks_anatomy: The landmarks [m], shape (n, 3).
        names: Of the landmarks.
        tolerance: A place farther than this from its landmark is not on it [m].
        found: How many landmarks were found as they are.
    """
    count = len(landmarks_anatomy)
    if count < _LEAST or found == count or len(touched_patient) < count:
        return ''
    for stretch in _stretches():
        match = match_landmarks(touched_patient, landmarks_anatomy * stretch, names, tolerance=tolerance)
        if len(match.pairs) < count:
            continue
        touched = touched_patient[[pair[0] for pair in match.pairs]]
        landmarks = landmarks_anatomy[[pair[1] for pair in match.pairs]]
        fit = fit_rigid(touched, landmarks)
        apart = touched - landmarks @ fit[:3, :3].T - fit[:3, 3]
        fre = float(np.sqrt((apart**2).sum(axis=1).mean()))
        story = explain_residual(touched, landmarks, fre, tuple(names[pair[1]] for pair in match.pairs))
        if story:
            return story
    return ''


def _stretches() -> Iterator[Array]:
    """Yield factors (3,) of the axes, likely ones first."""
    for factor in (1000.0, 0.001):
        yield np.full(3, factor)
    yield np.array([-1.0, 1.0, 1.0])
    for step in range(1, _STEPS + 1):
        for factor in (_STEP**step, _STEP**-step):
            yield np.full(3, factor)
            for axis in range(3):
                stretch = np.ones(3)
                stretch[axis] = factor
                yield stretch
