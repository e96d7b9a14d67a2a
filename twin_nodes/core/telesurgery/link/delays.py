"""The laws of delay, each by its quantile function, so that one uniform number is one delay."""

import bisect
import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.link.config import DelayConfig
from twin_nodes.core.telesurgery.link.draws import BLOCK, stream
from twin_nodes.core.telesurgery.link.trace import DelayTrace

Array = NDArray[np.float64]
_TABLE = 20_001
_EDGE = 1e-12  # keeps the quantiles of 0 and 1 finite


def quantile(config: DelayConfig, uniform: Array) -> Array:
    """Return the quantiles [s] of the law (without base), shape of `uniform`.

    normal and lognormal by the inverse error function, Pareto-II s(U^(-1/α) - 1), the hyper-exponential by a table of
    its distribution function Σ wᵢ(1 - exp(-x/mᵢ)).
    """
    from scipy.special import ndtri

    u = np.clip(uniform, _EDGE, 1.0 - _EDGE)
    if config.law == 'normal':
        return np.asarray(config.sigma * ndtri(u))
    if config.law == 'lognormal':
        return np.asarray(config.median * np.exp(config.shape * ndtri(u)))
    if config.law == 'pareto':
        return np.asarray(config.scale * ((1.0 - u) ** (-1.0 / config.alpha) - 1.0))
    if config.law == 'hyperexponential':
        return _hyperexponential(config, u)
    return np.zeros_like(u)


def _hyperexponential(config: DelayConfig, u: Array) -> Array:
    level, x = _table(config.weights, config.means)
    return np.interp(-np.log1p(-u), level, x)


@cache
def _table(weights: tuple[float, ...], means: tuple[float, ...]) -> tuple[Array, Array]:
    """-log(1 - F) over x, dense where the quick exponentials are, up to the last quantile of the slowest."""
    m = np.array(means)
    x = np.linspace(0.0, 1.0, _TABLE) ** 3 * (-math.log(_EDGE) * float(m.max()))
    survival = np.exp(-x[:, None] / np.where(m > 0.0, m, 1e-300)) @ (np.array(weights) / sum(weights))
    return -np.log(np.maximum(survival, _EDGE)), x


class DelayLaw:
    """Delays of one direction, packet by packet.

    Args:
        config: The law.
        seed: Seed of the link.
        direction: Number of the direction.
        trace: Measured delays, for law=trace.
    """

    def __init__(self, config: DelayConfig, *, seed: int, direction: int, trace: DelayTrace | None = None) -> None:
        if config.law == 'trace' and trace is None:
            raise ConfigError(f'law=trace: the delays of {config.trace_file!r} were not given')
        self.config = config
        self._trace = trace
        self._rng = stream(seed, direction, 1)
        self._block: list[float] = []
        self._next = 0
        self._innovation = 0.0
        self._last_s: float | None = None
        self._slots = stream(seed, direction, 2)
        self._slot_index = -1
        self._slot_value = 0.0

    def __call__(self, t_ns: int) -> int:
        """Return the delay [ns] of the packet that enters at t_ns since the start of the link."""
        config = self.config
        t = t_ns / NANOSECONDS
        value = config.base
        if self._trace is not None and config.law == 'trace':
            value += config.trace_scale * self._trace.at(t)
        elif config.law != 'constant':
            value += self._correlated(t) if config.correlation > 0.0 else self._independent()
        if config.slot > 0.0:
            value += self._slot(t)
        if config.profile_times:
            value += self._profile(t)
        return round(max(value, config.floor, 0.0) * NANOSECONDS)

    def _independent(self) -> float:
        if self._next == len(self._block):
            self._block, self._next = quantile(self.config, self._rng.random(BLOCK)).tolist(), 0
        self._next += 1
        return self._block[self._next - 1]

    def _correlated(self, t: float) -> float:
        """Gaussian copula with an Ornstein-Uhlenbeck process: the law stays, neighbours resemble."""
        fresh = float(self._rng.standard_normal())
        if self._last_s is None:
            self._innovation = fresh
        else:
            keep = math.exp(-(t - self._last_s) / self.config.correlation)
            self._innovation = keep * self._innovation + math.sqrt(1.0 - keep * keep) * fresh
        self._last_s = t
        uniform = 0.5 * math.erfc(-self._innovation / math.sqrt(2.0))
        return float(quantile(self.config, np.array([uniform]))[0])

    def _slot(self, t: float) -> float:
        index = int(t // self.config.slot)
        while self._slot_index < index:
            self._slot_index += 1
            self._slot_value = float(self._slots.uniform(self.config.slot_low, self.config.slot_high))
        return self._slot_value

    def _profile(self, t: float) -> float:
        times, values = self.config.profile_times, self.config.profile_values
        if self.config.profile_period > 0.0:
            t %= self.config.profile_period
        after = bisect.bisect_right(times, t)
        if after == 0:
            return 0.0 if not self.config.profile_ramp else values[0]
        if after == len(times) or not self.config.profile_ramp:
            return values[after - 1]
        t0, t1 = times[after - 1], times[after]
        return values[after - 1] + (values[after] - values[after - 1]) * (t - t0) / (t1 - t0)
