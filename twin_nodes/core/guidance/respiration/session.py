"""From markers on the skin and sparse fixes of a target to where the target will be, and whether the gate is open."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.respiration.config import RespirationConfig
from twin_nodes.core.guidance.respiration.correlation import External, TargetCorrelation
from twin_nodes.core.guidance.respiration.gate import Gate, GateState
from twin_nodes.core.guidance.respiration.predictor import BreathingPredictor, Forecast
from twin_nodes.core.stamps import NANOSECONDS


@dataclass(frozen=True, eq=False)
class TargetForecast:
    """Where the target is and will be.

    Args:
        stamp_ns: Stamp of the newest sample of the last marker: the instant of horizon 0.
        horizons: Times ahead [s], 0 first, shape (h,).
        positions: Positions of the target [m], shape (h, 3).
        covariances: Their covariances [m²], shape (h, 3, 3).
        gate: The gate, or None without a planned position.
    """

    stamp_ns: int
    horizons: Array
    positions: Array
    covariances: Array
    gate: GateState | None

    def at(self, ahead: float) -> tuple[Array, Array]:
        """Position [m], shape (3,), and covariance [m²], (3, 3), at a time ahead [s] within the horizons."""
        return _between(self.horizons, self.positions, self.covariances, ahead)


class RespirationSession:
    """Follows one target through the breath.

    Args:
        config: All settings.
        markers: Names of the external markers; all must be seen for a target.
        planned: Planned position of the target for the gate [m], shape (3,), or None.
    """

    def __init__(self, config: RespirationConfig, markers: tuple[str, ...], planned: Array | None = None) -> None:
        if not markers or len(set(markers)) != len(markers):
            raise InputError(f'markers={list(markers)} must be one or more different names')
        self._config = config
        self._predictors = {name: BreathingPredictor(config.breathing) for name in markers}
        self._forecasts: dict[str, Forecast] = {}
        self._correlation = TargetCorrelation(config.correlation)
        self._gate = None if planned is None else Gate(config.gate, planned)

    @property
    def fixes(self) -> int:
        """Fixes of the target that the model holds."""
        return self._correlation.count

    @property
    def learning(self) -> float:
        """Share of the learning time that the slowest marker has passed, 0 to 1."""
        return min(predictor.learning for predictor in self._predictors.values())

    def add_marker(self, name: str, stamp_ns: int, position: Array) -> Forecast | None:
        """Take in a sample of a marker [m], shape (3,), and predict the marker.

        Raises:
            InputError: for an unknown marker, a position that is not finite, or a stamp out of order.
        """
        if name not in self._predictors:
            raise InputError(f'no external marker {name!r}; there are {list(self._predictors)}')
        forecast = self._predictors[name].add(stamp_ns, position)
        if forecast is None:
            self._forecasts.pop(name, None)
        else:
            self._forecasts[name] = forecast
        return forecast

    def add_fix(self, stamp_ns: int, position: Array) -> None:
        """Take in a fix of the target [m], shape (3,), measured at a stamp within the history of the markers.

        Raises:
            InputError: for a stamp that the markers do not reach, or a position that is not finite.
            DegenerateGeometryError: when the markers hardly moved over the fixes.
        """
        before_ns = stamp_ns - round(self._config.correlation.delay * NANOSECONDS)
        now, before = [], []
        for name, predictor in self._predictors.items():
            at, earlier = predictor.position_at(stamp_ns), predictor.position_at(before_ns)
            if at is None or earlier is None:
                raise InputError(f'fix at {stamp_ns} ns: marker {name!r} was not seen then and just before')
            now.append(at)
            before.append(earlier)
        self._correlation.add_fix(External(np.array(now), np.array(now) - np.array(before)), position)

    def forecast(self) -> TargetForecast | None:
        """Say where the target is and will be, or None while something is still learned or a marker is missing."""
        if len(self._forecasts) != len(self._predictors) or not self._correlation.ready:
            return None
        stamp_ns = min(forecast.stamp_ns for forecast in self._forecasts.values())
        late = max(forecast.stamp_ns for forecast in self._forecasts.values()) - stamp_ns
        if late > self._config.breathing.max_gap * NANOSECONDS:
            return None
        horizons = np.array([0.0, *self._config.breathing.horizons])
        targets = [self._correlation.estimate(self._external(stamp_ns, horizon)) for horizon in horizons]
        positions = np.array([target.position for target in targets])
        covariances = np.array([target.covariance for target in targets])
        gate = self._gate.update(horizons, positions, covariances) if self._gate else None
        return TargetForecast(stamp_ns, horizons, positions, covariances, gate)

    def _external(self, stamp_ns: int, horizon: float) -> External:
        """The markers at an instant ahead, and their change over the delay before it."""
        at_ns = stamp_ns + round(horizon * NANOSECONDS)
        before_ns = at_ns - round(self._config.correlation.delay * NANOSECONDS)
        now, before, spread = [], [], []
        for name in self._predictors:
            position, covariance = self._marker(name, at_ns)
            now.append(position)
            spread.append(covariance)
            before.append(self._marker(name, before_ns)[0])
        return External(np.array(now), np.array(now) - np.array(before), np.array(spread))

    def _marker(self, name: str, stamp_ns: int) -> tuple[Array, Array]:
        """Position and covariance of a marker at an instant, measured or predicted."""
        measured = self._predictors[name].position_at(stamp_ns)
        if measured is not None:
            return measured, np.zeros((3, 3))
        forecast = self._forecasts[name]
        ahead = (stamp_ns - forecast.stamp_ns) / NANOSECONDS
        times = np.concatenate([[0.0], forecast.horizons])
        positions = np.vstack([forecast.start, forecast.positions])
        covariances = np.concatenate([np.zeros((1, 3, 3)), forecast.covariances])
        return _between(times, positions, covariances, ahead)


def _between(times: Array, positions: Array, covariances: Array, ahead: float) -> tuple[Array, Array]:
    """Position [m], shape (3,), and covariance [m²], (3, 3), at a time [s], linear between the times, shape (h,)."""
    after = int(np.clip(np.searchsorted(times, ahead), 1, len(times) - 1))
    share = (ahead - times[after - 1]) / (times[after] - times[after - 1])
    position: Array = positions[after - 1] + share * (positions[after] - positions[after - 1])
    covariance: Array = covariances[after - 1] + share * (covariances[after] - covariances[after - 1])
    return position, covariance
