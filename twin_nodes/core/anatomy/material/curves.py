"""Compression tests and the curve that stands for several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

MEASURES = ('engineering', 'true')
POINTS = 1000  # of the pooled curve
MIN_SAMPLES, MIN_STRAIN = 20, 0.02
START = 0.02  # the first strains, in which preload and slack show
_FAR = 5.0  # steps between samples
PRELOAD, SLACK = 0.01, 0.01  # of the greatest stress; of strain: below them nothing is changed


@dataclass(frozen=True, eq=False)
class CompressionTest:
    """One uniaxial compression test, its loading branch.

    Args:
        name: Such as the name of its file.
        material: What was tested; tests of one material are pooled.
        specimen: Which piece; repeats on one piece share it.
        strain: Engineering strain, 0 at the start and negative in compression, shape (n,).
        stress: Nominal stress, force over the area at rest, negative in compression [Pa], shape (n,).
        notes: What had to be mended to read it, one sentence each.
    """

    name: str
    material: str
    specimen: str
    strain: Array
    stress: Array
    notes: tuple[str, ...] = ()

    @property
    def greatest(self) -> float:
        """Greatest compression, as a share of the height."""
        return float(-self.strain.min())


def make_test(
    name: str, material: str, specimen: str, strain: Array, stress: Array, notes: Sequence[str] = ()
) -> CompressionTest:
    """Check a test, turn it to negative compression and keep its loading branch.

    Raises:
        InputError: MATERIAL_TEST_REFUSED with the reason.
    """
    strain, stress, notes = np.asarray(strain, float), np.asarray(stress, float), list(notes)
    if strain.shape != stress.shape or strain.ndim != 1:
        raise _refusal(name, f'strain {strain.shape} and stress {stress.shape} do not agree')
    if not (np.isfinite(strain).all() and np.isfinite(stress).all()):
        raise _refusal(name, 'NaN or Inf in strain or stress')
    if len(strain) < MIN_SAMPLES:
        raise _refusal(name, f'{len(strain)} samples, expected at least {MIN_SAMPLES}')
    end = int(np.argmax(np.abs(strain)))
    if strain[end] > 0.0:
        strain = -strain
        notes.append('strain was positive: taken as compression')
    if np.dot(stress[: end + 1], strain[: end + 1]) < 0.0:
        stress = -stress
        notes.append('stress had the sign opposite to strain: turned')
    if end < len(strain) - 1 and strain[-1] > strain[end] + 0.01:
        notes.append(f'unloading left out: {len(strain) - 1 - end} samples after the greatest compression')
        strain, stress = strain[: end + 1], stress[: end + 1]
    keep = np.r_[True, strain[1:] < np.minimum.accumulate(strain)[:-1]]
    strain, stress = strain[keep], stress[keep]
    if len(strain) < MIN_SAMPLES:
        raise _refusal(name, f'only {len(strain)} samples go on with the compression')
    if not MIN_STRAIN <= -strain[-1] < 0.99:
        raise _refusal(
            name, f'greatest compression {-strain[-1]:.4g}, expected {MIN_STRAIN:g} … 0.99 of the height: wrong unit?'
        )
    if not np.abs(stress).max() > 0.0:
        raise _refusal(name, 'no stress in it')
    return CompressionTest(name, material, specimen, strain, stress, tuple(notes))


def zeroed(test: CompressionTest) -> CompressionTest:
    """Take preload and slack out of a test where they are larger than the scatter of a good one.

    Height and area count as measured at rest. Slack, a flat start up to where the rising line of the first contact
    meets zero, is a gap that closed: strain starts there, and what the load cell said before is its zero. Preload,
    stress at the first sample without a flat start, is compression before the first sample: strain is larger by what
    this stress needs.

    Returns:
        The test itself where both are small; else a mended one that says so.
    """
    strain, stress = -test.strain, -test.stress
    noise = PRELOAD * float(np.abs(stress).max())
    contact = _contact(strain, stress, noise)
    if contact > SLACK:
        keep = strain >= contact
        base = float(np.median(stress[~keep]))
        note = f'slack of {contact:.3g} of the height taken out'
        return replace(test, strain=contact - strain[keep], stress=base - stress[keep], notes=(*test.notes, note))
    first = strain <= strain[0] + START
    if first.sum() < 3:
        return test
    slope, start = np.polyfit(strain[first] - strain[0], stress[first], 2 if first.sum() > 10 else 1)[-2:]
    if start <= noise:
        return _from_rest(test)
    before = _strain_before(start / slope) if slope > 0.0 else None
    if before is None:
        note = f'stress of {start:.4g} Pa at the first sample is more than a preload: left in'
        return replace(test, notes=(*test.notes, note))
    shift = before - float(strain[0])
    note = f'preload of {start:.4g} Pa: strain starts at {shift:.3g}'
    return replace(test, strain=test.strain - shift, notes=(*test.notes, note))


def _from_rest(test: CompressionTest) -> CompressionTest:
    """Let strain start at 0 where its first sample bears nothing and lies far from 0: nobody set the travel to zero."""
    strain = -test.strain
    if strain[0] <= max(SLACK, _FAR * float(np.median(np.diff(strain)))):
        return test
    note = f'travel began at {strain[0]:.3g} of the height without force: counted from there'
    return replace(test, strain=test.strain - test.strain[0], notes=(*test.notes, note))


def _strain_before(ratio: float) -> float | None:
    """Return the compression at which a neo-Hookean law has this ratio of stress to slope, None above 30 %."""

    def excess(stretch: float) -> float:
        return (stretch**-2 - stretch) / (1.0 + 2.0 * stretch**-3) - ratio

    return float(1.0 - brentq(excess, 0.7, 1.0)) if excess(0.7) > 0.0 else None


def _contact(strain: Array, stress: Array, noise: float) -> float:
    """Return the strain of the first contact: 0 where the stress rises from the start."""
    base = stress[: max(3, len(stress) // 200)].mean()
    over = np.flatnonzero(stress - base > noise)
    if not over.size or strain[over[0]] - strain[0] < SLACK:
        return 0.0
    at = over[0]
    ahead = (strain >= strain[at]) & (strain <= strain[at] + START)
    if ahead.sum() < 3:
        return 0.0
    slope, value = np.polyfit(strain[ahead] - strain[at], stress[ahead] - base, 1)
    early = (strain < strain[at]) & (strain >= strain[0])
    rise = np.polyfit(strain[early], stress[early], 1)[0] if early.sum() >= 3 else slope
    # a soft law rises slowly too: slack is a start that is flat beside what follows
    if slope <= 0.0 or rise > 0.2 * slope:
        return 0.0
    return float(max(strain[at] - value / slope, 0.0))


@dataclass(frozen=True, eq=False)
class PooledCurve:
    """What several tests of one material say together, at equally spaced strains.

    Args:
        material: What was tested.
        measure: 'engineering' (nominal stress by engineering strain) or 'true' (Cauchy stress by log strain).
        stretch: λ, shape (n,).
        stress: Mean over the specimens [Pa], shape (n,).
        specimens: Their names, shape (g,).
        by_specimen: Mean of the repeats of each [Pa], shape (g, n).
        within: Curves of the repeats less their specimen's mean [Pa], shape (r, n).
    """

    material: str
    measure: str
    stretch: Array
    stress: Array
    specimens: tuple[str, ...]
    by_specimen: Array
    within: Array

    @property
    def factor(self) -> Array:
        """What turns nominal stress into the stress of this curve, shape (n,): 1, or λ for true stress."""
        return self.stretch if self.measure == 'true' else np.ones_like(self.stretch)

    @property
    def between_sigma(self) -> Array | None:
        """Standard deviation between specimens [Pa], shape (n,); None for one."""
        if len(self.specimens) < 2:
            return None
        return np.asarray(self.by_specimen.std(axis=0, ddof=1), np.float64)


def pool(tests: Sequence[CompressionTest], measure: str = 'engineering', points: int = POINTS) -> PooledCurve:
    """Bring tests of one material to common strains and average them, repeats first, then specimens.

    The strains are equally spaced in the measure, from 0 to the greatest that all tests reach.

    Raises:
        InputError: MATERIAL_TEST_REFUSED for no tests, tests of several materials or an unknown measure.
    """
    materials = sorted({test.material for test in tests})
    if len(materials) != 1:
        raise _refusal('pool', f'tests of {materials or "nothing"}: expected one material')
    if measure not in MEASURES:
        raise _refusal('pool', f'measure={measure!r} is none of {", ".join(MEASURES)}')
    end = min(test.greatest for test in tests)
    if measure == 'true':
        stretch = np.exp(np.linspace(0.0, np.log1p(-end), points))
    else:
        stretch = 1.0 - np.linspace(0.0, end, points)
    curves: dict[str, list[Array]] = {}
    for test in tests:
        x, at = (np.log1p(test.strain), np.log(stretch)) if measure == 'true' else (test.strain, stretch - 1.0)
        stress = test.stress * (1.0 + test.strain) if measure == 'true' else test.stress
        curves.setdefault(test.specimen, []).append(np.interp(-at, -x, stress))
    by_specimen = np.stack([np.mean(group, axis=0) for group in curves.values()])
    within = np.concatenate([np.stack(group) - np.mean(group, axis=0) for group in curves.values()])
    return PooledCurve(materials[0], measure, stretch, by_specimen.mean(axis=0), tuple(curves), by_specimen, within)


def _refusal(name: str, reason: str) -> InputError:
    return InputError(f'{name}: {reason}', code='MATERIAL_TEST_REFUSED')
