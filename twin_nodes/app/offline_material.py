"""Laws fitted to compression tests: what `twin calibrate material` does."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.anatomy.material.bodies import BODIES
from twin_nodes.core.anatomy.material.curves import CompressionTest, PooledCurve, pool, zeroed
from twin_nodes.core.anatomy.material.fit import FitConfig, LawFit, fit_law, sum_of_squares
from twin_nodes.core.anatomy.material.intervals import Intervals, intervals_of, profile_interval
from twin_nodes.core.anatomy.material.published import PublishedFit
from twin_nodes.core.anatomy.material.uniaxial import LAWS, UniaxialLaw, find_law
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.io.compression_tests import find_tests, read_test
from twin_nodes.io.material_results import StoredMaterial, write_material
from twin_nodes.io.published_laws import FILE_NAME, read_published
from twin_nodes.io.results import utc_date

WARN_ERROR, REFUSE_ERROR = 0.03, 0.2  # standard error over the greatest stress


@dataclass(frozen=True, eq=False)
class MaterialReport:
    """One material: fits of all laws, which one is taken, its file and text."""

    curve: PooledCurve
    fits: list[LawFit]
    chosen: LawFit
    intervals: Intervals
    stored: StoredMaterial
    figures: list[Figure]
    text: str


def calibrate_materials(
    paths: Sequence[Path],
    *,
    laws: Sequence[str] = (),
    measure: str = 'engineering',
    config: FitConfig | None = None,
    material: str = '',
    published: Path | None = None,
    profile: bool = False,
    raw: bool = False,
    output: Path | None = None,
    date: str = '',
) -> list[MaterialReport]:
    """Fit laws to compression tests, material by material.

    Args:
        paths: Files and folders.
        laws: Names; all when empty.
        measure: 'engineering' or 'true'.
        config: Weights and starts.
        material: Name of what all the files hold; else from their names.
        published: Table of published parameters; looked for beside the files when left out.
        profile: Whether exponents get intervals from the profile of the fit too.
        raw: Whether preload and slack stay in.
        output: Result file, or folder where there are several materials.
        date: When it was fitted, ISO 8601; now when left out.

    Raises:
        InputError: MATERIAL_TEST_REFUSED for a file that is no test.
        ConfigError: for an unknown law, or an output that cannot be written.
    """
    wanted = [find_law(name) for name in laws] or list(LAWS.values())
    files = find_tests(paths)
    known = _published(files, published)
    groups: dict[str, list[tuple[Path, CompressionTest]]] = {}
    for file in files:
        test = read_test(file, material=material)
        groups.setdefault(test.material, []).append((file, test if raw else zeroed(test)))
    reports = []
    for name, group in groups.items():
        curve = pool([test for _, test in group], measure)
        fits = []
        for law in wanted:
            try:
                fits += _fit(law, curve, config or FitConfig())
            except DegenerateGeometryError:
                if laws:
                    raise
        if not fits:
            raise DegenerateGeometryError(f'{name}: no law follows its tests', code='MATERIAL_TEST_REFUSED')
        beside = {fit.law: fit for fit in known if fit.material == name and fit.measure == measure}
        reports.append(_report(group, curve, fits, beside, profile=profile, date=date or utc_date()))
    if output is not None:
        _write(output, reports)
    return reports


def _fit(law: UniaxialLaw, curve: PooledCurve, config: FitConfig) -> list[LawFit]:
    """Fit a law; where that is not stable, and more stable terms may do, fit those too."""
    fit = fit_law(law, curve, config)
    if fit.stability.is_stable or config.stable or not law.is_split:
        return [fit]
    return [fit, fit_law(law, curve, replace(config, stable=True))]


def _published(files: Sequence[Path], given: Path | None) -> list[PublishedFit]:
    if given is not None:
        return read_published(given)
    for folder in dict.fromkeys(parent for file in files for parent in file.resolve().parents[:2]):
        if (folder / FILE_NAME).is_file():
            return read_published(folder / FILE_NAME)
    return []


def _report(
    group: list[tuple[Path, CompressionTest]],
    curve: PooledCurve,
    fits: list[LawFit],
    beside: dict[str, PublishedFit],
    *,
    profile: bool,
    date: str,
) -> MaterialReport:
    chosen = _choose(fits)
    intervals = intervals_of(chosen)
    verdict, reasons = _judge(chosen, intervals)
    names = chosen.law.names
    stored = StoredMaterial(
        material=curve.material,
        law=chosen.law.name,
        parameters=dict(zip(names, chosen.parameters.tolist(), strict=True)),
        low=dict(zip(names, intervals.low.tolist(), strict=True)),
        high=dict(zip(names, intervals.high.tolist(), strict=True)),
        interval_source=intervals.source,
        shear_pa=chosen.shear,
        shear_low_pa=intervals.shear_low,
        shear_high_pa=intervals.shear_high,
        measure=curve.measure,
        greatest_compression_ratio=float(1.0 - curve.stretch.min()),
        standard_error_pa=chosen.standard_error,
        stability=chosen.stability.text(),
        verdict=verdict,
        date=date,
        reasons=reasons,
        data_file=tuple(file.name for file, _ in group),
        data_sha256=tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file, _ in group),
    )
    lines = [*_head(group, curve), *_table(fits, beside, chosen), *_parameters(chosen, intervals, profile)]
    lines.append(f'verdict     {verdict}' + ''.join(f'\n  {reason}' for reason in reasons))
    return MaterialReport(
        curve, fits, chosen, intervals, stored, _figures(curve, fits, beside, chosen, intervals), '\n'.join(lines)
    )


def _choose(fits: list[LawFit]) -> LawFit:
    """Return the stable fit of least AIC, of those that have a law for tetrahedra where there are any."""
    stable = [fit for fit in fits if fit.stability.is_stable] or fits
    bodies = [fit for fit in stable if fit.law.name in BODIES] or stable
    return min(bodies, key=lambda fit: fit.aic())


def _judge(fit: LawFit, intervals: Intervals) -> tuple[str, tuple[str, ...]]:
    reasons, verdict = [], 'accept'
    share = fit.standard_error / float(np.abs(fit.curve.stress).max())
    if share > WARN_ERROR:
        reasons.append(f'{fit.law.name} misses the stress by {share:.1%} of its greatest: try other laws')
        verdict = 'refuse' if share > REFUSE_ERROR else 'warn'
    if not fit.stability.is_stable:
        reasons.append(f'{fit.law.name} is {fit.stability.text()}: a solver may fail there; --stable mends it')
        verdict = 'refuse' if fit.shear <= 0.0 else max(verdict, 'warn', key=['accept', 'warn', 'refuse'].index)
    if intervals.source != 'specimens':
        reasons.append(f'one specimen: the intervals rest on {intervals.source} and say nothing of other pieces')
        verdict = max(verdict, 'warn', key=['accept', 'warn', 'refuse'].index)
    return verdict, tuple(reasons)


def _head(group: list[tuple[Path, CompressionTest]], curve: PooledCurve) -> list[str]:
    pieces = ', '.join(curve.specimens)
    lines = [
        f'{curve.material}: {len(group)} tests of {len(curve.specimens)} specimens ({pieces}), '
        f'compressed by {1.0 - curve.stretch.min():.1%}, {curve.measure} stress to '
        f'{abs(curve.stress[-1]) / 1e3:.2f} kPa'
    ]
    if curve.between_sigma is not None:
        spread = float(curve.between_sigma[-1] / abs(curve.stress[-1]))
        lines.append(f'scatter     {spread:.1%} between specimens at the greatest compression')
    for file, test in group:
        lines += [f'note        {file.name}: {note}' for note in test.notes]
    return lines


def _table(fits: list[LawFit], beside: dict[str, PublishedFit], chosen: LawFit) -> list[str]:
    lines = ['law               SSE kPa²       AIC  published SSE  the same here  shear kPa  Drucker']
    for fit in fits:
        other = beside.get(fit.law.name)
        printed = f'{other.sse / 1e6:13.4g}' if other else f'{"-":>13}'
        here = f'{sum_of_squares(fit.law, other.parameters, fit.curve) / 1e6:13.4g}' if other else f'{"-":>13}'
        mark = '*' if fit is chosen else ' '
        lines.append(
            f'{mark}{fit.name:<16} {fit.sse / 1e6:9.4g} {fit.aic():9.1f}  {printed}  {here}  {fit.shear / 1e3:9.3f}'
            f'  {fit.stability.text()}'
        )
    lines.append('* taken: least AIC of the stable laws that a soft body can have')
    if beside:
        lines.append('the same here: SSE of the published parameters on these tests')
    return lines


def _parameters(fit: LawFit, intervals: Intervals, profile: bool) -> list[str]:
    lines = []
    for k, name in enumerate(fit.law.names):
        scale, unit = (1e3, ' kPa') if k < len(fit.law.moduli) else (1.0, '')
        line = (
            f'{name:<11} {fit.parameters[k] / scale:.6g}{unit}, 95 % {intervals.low[k] / scale:.6g} … '
            f'{intervals.high[k] / scale:.6g} ({intervals.source})'
        )
        if profile:
            low, high = profile_interval(fit, k)
            line += f', profile {low / scale:.6g} … {high / scale:.6g}'
        lines.append(line)
    low, high = intervals.shear_low / 1e3, intervals.shear_high / 1e3
    lines.append(
        f'shear       {fit.shear / 1e3:.5g} kPa at rest, 95 % {low:.5g} … {high:.5g}; Young {3.0 * fit.shear / 1e3:.5g}'
    )
    return lines


def _figures(
    curve: PooledCurve, fits: list[LawFit], beside: dict[str, PublishedFit], chosen: LawFit, intervals: Intervals
) -> list[Figure]:
    figures = []
    for fit in fits:
        figures.append(judge(f'{curve.material}_{fit.name}_sse_kpa2', fit.sse / 1e6, 'kPa²'))
        figures.append(judge(f'{curve.material}_{fit.name}_aic', fit.aic(), ''))
        other = beside.get(fit.law.name)
        if other is not None and not fit.is_forced:
            own = sum_of_squares(fit.law, other.parameters, curve)
            name = f'{curve.material}_{fit.name}_sse_ratio_to_published'
            figures.append(judge(name, fit.sse / own, '', at_most=1.0, peer='published parameters, same tests'))
    figures.append(judge(f'{curve.material}_shear_kpa', chosen.shear / 1e3, 'kPa'))
    figures.append(judge(f'{curve.material}_shear_low_kpa', intervals.shear_low / 1e3, 'kPa'))
    figures.append(judge(f'{curve.material}_shear_high_kpa', intervals.shear_high / 1e3, 'kPa'))
    return figures


def _write(output: Path, reports: list[MaterialReport]) -> None:
    if len(reports) == 1 and not output.is_dir():
        write_material(output, reports[0].stored)
        return
    if output.suffix.lower() in ('.yaml', '.yml'):
        raise ConfigError(f'{output}: {len(reports)} materials need a folder, not one file')
    for report in reports:
        if '/' in report.stored.material or report.stored.material.startswith('.'):
            raise InputError(f'{report.stored.material!r} is no name of a file: give --material')
        write_material(output / f'{report.stored.material}.yaml', report.stored)
