"""Settings of the prediction of a tool's pose."""

from dataclasses import dataclass

from twin_nodes.core.config import setting


@dataclass(frozen=True)
class PredictionConfig:
    """How far ahead a pose is predicted, and how the motion is learned."""

    ahead: float = setting(
        'Time from publishing until the advice takes effect, added to the measured latency.', 0.0, unit='s',
        minimum=0.0, maximum=0.5,
    )  # fmt: skip
    measure_latency: bool = setting(
        'Add the time from measurement to advice, taken from the stamps; a replay never does.', True
    )
    max_ahead: float = setting(
        'Longest latency that is bridged; beyond it the advice is of the time of measurement, and says so.', 0.5,
        unit='s', minimum=0.01, maximum=0.5,
    )  # fmt: skip
    acceleration: float = setting(
        'White acceleration density of the constant-velocity filter.', 0.6, unit='m/s^1.5', minimum=1e-4, maximum=100.0
    )
    position_noise: float = setting(
        'Sigma of a measured position on each axis.', 6e-5, unit='m', minimum=1e-7, maximum=0.01
    )
    lever: float = setting(
        'Distance at which a rotation is weighed like a translation.', 0.1, unit='m', minimum=0.001, maximum=10.0
    )
    memory: float = setting(
        'Time of motion over which the errors of the models are remembered.', 10.0, unit='s', minimum=0.5,
        maximum=600.0,
    )  # fmt: skip
    forgetting: float = setting(
        'Weight of a learned sample after the next one; 1 never forgets.', 0.9995, minimum=0.9, maximum=1.0
    )
    prior: float = setting(
        'Precision of the weights of the regression before the first sample, in samples of 1 mm.', 30000.0,
        minimum=1.0, maximum=1e9,
    )  # fmt: skip
    train_every: float = setting(
        'Least time between two samples that are learned from.', 0.015, unit='s', minimum=0.001, maximum=0.2
    )
    max_gap: float = setting(
        'A longer gap between samples begins the motion anew.', 0.2, unit='s', minimum=0.01, maximum=5.0
    )
