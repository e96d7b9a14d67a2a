"""What must hold whatever the link does: the worst of all transfers with the bridge, scenario by scenario."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from twin_nodes.app.bench.telesurgery_trials import Job
from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.telesurgery.operator.trial import MODES, TrialResult

BRIDGED = tuple(mode for mode in MODES if mode != 'direct')
LIGHT_LOSS = 3.0  # %
HOLD_MS, STEP_MM, SPEED_MM_S, ENERGY_UJ = 100.0, 0.5, 20.0, -1.0
LIGHT_RMS_MM, LIGHT_MAX_MM, RMS_MM = 0.1, 0.5, 0.3


@dataclass(frozen=True)
class Worst:
    """The worst of all transfers of a scenario in the modes with the bridge.

    Args:
        loss_percent: Loss of its forward direction [%].
        hold_ms: Longest that the robot moved without a valid command [ms].
        step_mm: Largest step in the first second after a reconnection [mm].
        speed_mm_s: Largest speed then [mm/s].
        path_rms_mm: Distance from the commanded path, time left out [mm]; NaN when the robot never followed.
        path_max_mm: The largest [mm].
        energy_uj: Lowest energy of the passivity observer [µJ].
        felt: Share of the transfers in which a fixture was felt.
        refused: Datagrams of an attacker refused.
        applied: And applied.
    """

    loss_percent: float
    hold_ms: float
    step_mm: float
    speed_mm_s: float
    path_rms_mm: float
    path_max_mm: float
    energy_uj: float
    felt: float
    refused: int
    applied: int

    @property
    def rms_limit_mm(self) -> float:
        """What the path error may be [mm]."""
        return LIGHT_RMS_MM if self.loss_percent <= LIGHT_LOSS else RMS_MM


def worst_of(results: Sequence[TrialResult], loss_percent: float) -> Worst:
    """Return the worst of transfers.

    Args:
        results: Of one scenario, in the modes with the bridge.
        loss_percent: Loss of its forward direction [%].
    """
    moved = [result for result in results if result.moved]
    return Worst(
        loss_percent,
        1e3 * max(max(result.hold_longest, max(result.hold_seconds, default=0.0)) for result in results),
        1e3 * max(result.reconnect_step for result in results),
        1e3 * max(result.reconnect_speed for result in results),
        1e3 * max((result.path_rms for result in moved), default=float('nan')),
        1e3 * max((result.path_max for result in moved), default=float('nan')),
        1e6 * min(result.lowest_energy for result in results),
        float(np.mean([result.felt > 0 for result in results])),
        sum(result.forged_refused for result in results),
        sum(result.forged_applied for result in results),
    )


def figures(
    names: Sequence[str], found: Mapping[str, Worst], runs: Mapping[Job, Sequence[TrialResult]]
) -> Iterator[Figure]:
    """Return what holds over all scenarios.

    Args:
        names: Scenarios.
        found: The worst of each.
        runs: Results of each scenario in each mode.
    """
    each = list(found.values())
    light = [worst for worst in each if worst.loss_percent <= LIGHT_LOSS]
    yield judge('all_passivity_lowest_energy_uj', min(w.energy_uj for w in each), 'uJ', at_least=ENERGY_UJ)
    yield judge('all_reconnect_step_mm', max(w.step_mm for w in each), 'mm', at_most=STEP_MM)
    yield judge('all_reconnect_speed_mm_s', max(w.speed_mm_s for w in each), 'mm/s', at_most=SPEED_MM_S)
    yield judge('all_hold_ms', max(w.hold_ms for w in each), 'ms', at_most=HOLD_MS)
    yield judge('all_path_error_light_loss_rms_mm', _most(w.path_rms_mm for w in light), 'mm', at_most=LIGHT_RMS_MM)
    yield judge('all_path_error_light_loss_max_mm', _most(w.path_max_mm for w in light), 'mm', at_most=LIGHT_MAX_MM)
    yield judge('all_path_error_rms_mm', _most(w.path_rms_mm for w in each), 'mm', at_most=RMS_MM)
    yield judge('all_forged_applied', float(sum(w.applied for w in each)), '', at_most=0.0,
                peer=f'{sum(w.refused for w in each)} refused')  # fmt: skip
    failed = [name for name in names if not all(r.transfer.success for r in runs[Job(name, 'twin')])]
    yield judge('scenarios_with_failed_transfers', float(len(failed)), '', at_most=0.0,
                peer=', '.join(failed) or 'full twin')  # fmt: skip


def _most(values: Iterator[float]) -> float | None:
    known = [value for value in values if value == value]
    return max(known, default=None)


def section(names: Sequence[str], found: Mapping[str, Worst], labels: Mapping[str, str]) -> str:
    """Return the part of the page that tells it scenario by scenario.

    Args:
        names: Scenarios.
        found: The worst of each.
        labels: What stands for each in the first column.
    """
    body = ''.join(f'<tr><th>{escape(labels[name])}</th>{_row(found[name])}</tr>' for name in names)
    return (
        '<h2>What must hold, scenario by scenario</h2><p>The worst in bridge, prediction and twin. Hold: '
        'longest motion after a valid command without another. Reconnection: in the first second after the robot stood '
        'for an outage. Path: distance of the robot from the commanded path, time left out, wherever it follows or '
        f'replays; at most {LIGHT_RMS_MM} mm up to {LIGHT_LOSS:g} % loss, else {RMS_MM} mm. Energy: lowest that the '
        'passivity observer of the fixtures saw, which are on in every transfer, and in how many of them one was felt. '
        'Hostile: datagrams that an attacker made, damaged or sent again.</p>'
        '<table><tr><th>scenario</th><th>loss %</th><th>hold ms</th><th>reconnection mm, mm/s</th>'
        '<th>path RMS mm</th><th>path largest mm</th><th>energy µJ</th><th>fixture felt</th>'
        f'<th>hostile refused, applied</th></tr>{body}</table>'
    )


def _row(worst: Worst) -> str:
    loss = worst.loss_percent
    largest_ok = worst.path_max_mm <= LIGHT_MAX_MM or loss > LIGHT_LOSS
    back_ok = worst.step_mm <= STEP_MM and worst.speed_mm_s <= SPEED_MM_S
    hostile = f'{worst.refused}, {worst.applied}' if worst.refused or worst.applied else ''
    return (
        f'<td>{loss:.1f}</td>'
        + _mark(worst.hold_ms <= HOLD_MS, f'{worst.hold_ms:.0f}')
        + _mark(back_ok, f'{worst.step_mm:.2f}, {worst.speed_mm_s:.0f}')
        + _mark(worst.path_rms_mm <= worst.rms_limit_mm, f'{worst.path_rms_mm:.3f}')
        + _mark(largest_ok, f'{worst.path_max_mm:.2f}')
        + _mark(worst.energy_uj >= ENERGY_UJ, f'{worst.energy_uj:.1f}')
        + f'<td>{100.0 * worst.felt:.0f} %</td>'
        + (_mark(worst.applied == 0, hostile) if hostile else '<td></td>')
    )


def _mark(ok: bool, text: str) -> str:
    return f'<td class="{"ok" if ok else "bad"}">{text}</td>'
