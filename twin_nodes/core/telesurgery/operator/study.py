"""The published human study (UVA 2026, 15 people, 180 trials), and how near the simulated operator comes to it.

In the study the emulator stood in the way of the console's datagrams alone, and the robot applied increments; the
picture came back at once. So do these trials.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.telesurgery.operator.config import OperatorConfig, TaskConfig
from twin_nodes.core.telesurgery.operator.direct import Transfer, direct_transfer, operator_noise

NORMAL_SECONDS = 22.1
# name of the scenario: mean transfer time [s], collisions in about 90 transfers
ROWS: dict[str, tuple[float, int]] = {
    'N8': (24.4, 5),
    'N9': (26.6, 7),
    'N10': (36.2, 6),
    'N11': (27.1, 6),
    'N12': (34.1, 14),
    'N13': (47.9, 26),
    'N14': (28.9, 3),
    'N15': (47.4, 20),
    'N16': (64.3, 13),
}


@dataclass(frozen=True)
class FitRow:
    """One row of the study beside the simulated operator.

    Args:
        scenario: Name of the scenario, '' for the normal one.
        published: Ratio of people's time to normal.
        simulated: That of the simulated operator.
        low: Lower end of its 95 % interval.
        high: Upper end.
        transfers: What was simulated.
    """

    scenario: str
    published: float
    simulated: float
    low: float
    high: float
    transfers: tuple[Transfer, ...]

    @property
    def error_percent(self) -> float:
        """By how much the simulated ratio is off."""
        return 100.0 * (self.simulated / self.published - 1.0)


def study_transfers(
    operator: OperatorConfig, task: TaskConfig, forward: list[NDArray[np.int64]], seeds: list[int]
) -> tuple[Transfer, ...]:
    """Run transfers under the conditions of the study.

    Args:
        operator: The operator.
        task: The task.
        forward: Step at which the command of each step arrives, one array per seed.
        seeds: Seeds of the operator's noise.
    """
    found = []
    for seed, arrivals in zip(seeds, forward, strict=True):
        count = len(arrivals)
        back = np.arange(count, dtype=np.int64)
        found.append(direct_transfer(operator, task, operator_noise(seed, count), arrivals, back)[0])
    return tuple(found)


def fit_row(scenario: str, transfers: tuple[Transfer, ...], normal: tuple[Transfer, ...]) -> FitRow:
    """Hold simulated transfers against the row of a scenario."""
    base = np.array([transfer.seconds for transfer in normal])
    times = np.array([transfer.seconds for transfer in transfers])
    ratio = float(times.mean() / base.mean())
    spread = 1.96 * ratio * float(np.hypot(_relative(times), _relative(base)))
    published = ROWS[scenario][0] / NORMAL_SECONDS if scenario else 1.0
    return FitRow(scenario, published, ratio, ratio - spread, ratio + spread, transfers)


def _relative(values: NDArray[np.float64]) -> float:
    """Standard error of a mean over the mean."""
    return float(values.std() / np.sqrt(len(values)) / values.mean())


def worst_percent(rows: list[FitRow]) -> float:
    """Return the largest error of all rows [%]."""
    return max(abs(row.error_percent) for row in rows)


def same_rank(rows: list[FitRow]) -> bool:
    """Whether the simulated times rank the rows as the study did."""
    published = [row.scenario for row in sorted(rows, key=lambda row: row.published)]
    return published == [row.scenario for row in sorted(rows, key=lambda row: row.simulated)]
