"""Settings of the prediction of breathing."""

from dataclasses import dataclass

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError


@dataclass(frozen=True)
class BreathingConfig:
    """How a breathing motion is learned and continued."""

    horizons: tuple[float, ...] = setting(
        'How far ahead positions are predicted, ascending.', (0.1, 0.3, 0.5, 1.0, 2.0), unit='s', minimum=0.01,
        maximum=5.0,
    )  # fmt: skip
    step: float = setting('Time between two lags of the regression.', 0.1, unit='s', minimum=0.01, maximum=1.0)
    short_lags: int = setting('Lags of the regressions on the last moments.', 16, minimum=2, maximum=100)
    long_lags: int = setting(
        'Lags of the regressions on a whole breath, two steps apart each.', 24, minimum=2, maximum=100
    )
    forgetting: float = setting(
        'Weight of an observation after one step, per step; 1 never forgets.', 0.9995, minimum=0.9, maximum=1.0
    )
    prior_axis: float = setting(
        'Prior precision of the weights of a regression on one axis, in observations of 1 mm.', 300.0, minimum=1e-3,
        maximum=1e9,
    )  # fmt: skip
    prior_joint: float = setting(
        'Prior precision of the weights of a regression on all axes, in observations of 1 mm.', 1000.0, minimum=1e-3,
        maximum=1e9,
    )  # fmt: skip
    memory: float = setting(
        'Time over which errors are remembered, to weigh the regressions and to size the band.', 20.0, unit='s',
        minimum=1.0, maximum=600.0,
    )  # fmt: skip
    learning_time: float = setting(
        'Motion that is seen before a prediction is given.', 15.0, unit='s', minimum=1.0, maximum=300.0
    )
    max_gap: float = setting(
        'A longer gap between samples empties the history: lags are never interpolated across it.', 0.5, unit='s',
        minimum=0.05, maximum=10.0,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not self.horizons or any(b <= a for a, b in zip(self.horizons, self.horizons[1:], strict=False)):
            raise ConfigError(f'horizons={list(self.horizons)} s must be one or more ascending times')
        if self.max_gap < self.step:
            raise ConfigError(f'max_gap={self.max_gap} s must be at least step={self.step} s')

    @property
    def span(self) -> float:
        """Time that the lags reach back [s]."""
        return self.step * max(self.short_lags, 2 * self.long_lags)


@dataclass(frozen=True)
class CorrelationConfig:
    """How an internal target is tied to what is seen outside."""

    components: int = setting(
        'Principal motions of the external markers that enter the model.', 1, minimum=1, maximum=6
    )
    delay: float = setting(
        'The change over this time tells breathing in from breathing out.', 0.4, unit='s', minimum=0.05, maximum=2.0
    )
    forgetting: float = setting(
        'Weight that an internal fix keeps per later fix; 1 never forgets.', 0.99, minimum=0.9, maximum=1.0
    )
    noise: float = setting(
        'Standard deviation of an internal fix per axis, as prior; it is estimated from the residuals.', 0.0005,
        unit='m', minimum=1e-6, maximum=0.02,
    )  # fmt: skip
    min_fixes: int = setting('Internal fixes before the model gives a target.', 12, minimum=8, maximum=1000)
    max_fixes: int = setting('Internal fixes that are kept; the oldest leave first.', 300, minimum=20, maximum=10_000)
    min_motion: float = setting(
        'Standard deviation of the external motion below which no model is fitted.', 0.0005, unit='m', minimum=1e-5,
        maximum=0.1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.max_fixes < self.min_fixes:
            raise ConfigError(f'max_fixes={self.max_fixes} must be at least min_fixes={self.min_fixes}')


@dataclass(frozen=True)
class GateConfig:
    """When a target counts as in place."""

    tolerance: float = setting(
        'The gate is open while the target is this near to its planned position.', 0.002, unit='m', minimum=1e-4,
        maximum=0.05,
    )  # fmt: skip
    probability: float = setting(
        'Least probability of being within the tolerance for the gate to open.', 0.9, minimum=0.5, maximum=0.999
    )
    hysteresis: float = setting(
        'The gate closes when the probability falls this much below.', 0.1, minimum=0.0, maximum=0.4
    )


@dataclass(frozen=True)
class RespirationConfig:
    """Breathing: prediction, correlation and gate."""

    breathing: BreathingConfig = group(BreathingConfig)
    correlation: CorrelationConfig = group(CorrelationConfig)
    gate: GateConfig = group(GateConfig)
