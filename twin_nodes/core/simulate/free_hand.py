"""Simulated hands that move as they like: their velocity is coloured noise, with a rest now and then.

Recorded operators of surgical robots are less smooth than reaches of minimum jerk: over the frequency f the power of
their velocity falls as f⁻² from some 0.7 Hz, and faster from some 4 Hz. So each hand here is white noise through two
first-order filters, with corners of its own; it comes to rest and starts again with minimum jerk (Flash and Hogan
1985).
"""

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.simulate.operator_motion import OperatorTrace, measured_trace

_SLOW, _QUICK = (0.3, 1.2), (2.0, 10.0)  # Hz, ranges of the two corners
_SPEED = (0.003, 0.04)  # m/s, range of the standard deviation on each axis
_VIGOUR = 0.5  # standard deviation of the logarithm of the speed that wavers
_WAVERS = 0.3  # Hz
_SETTLED = 8.0  # s, after which the filters have forgotten their start


def free_hand_trace(
    rng: np.random.Generator, *, seconds: float = 60.0, rate_hz: float = 60.0, noise: float = 1e-4, jitter: float = 0.0
) -> OperatorTrace:
    """Draw one hand and a trace of its motion; arguments as of `operator_motion.operator_trace`."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    velocities = _coloured(rng, len(times), rate_hz)
    if rng.random() < 0.5:
        velocities *= _awake(rng, times)[:, None]
    truth = np.cumsum(velocities, axis=0) / rate_hz
    return measured_trace(rng, times, truth, noise=noise, jitter=jitter)


def _coloured(rng: np.random.Generator, count: int, rate_hz: float) -> Array:
    """Velocities [m/s], shape (n, 3)."""
    from scipy.signal import lfilter

    before = round(_SETTLED * rate_hz)

    def slowed(values: Array, corner: float) -> Array:
        kept = np.exp(-2.0 * np.pi * corner / rate_hz)
        filtered: Array = lfilter([1.0 - kept], [1.0, -kept], values, axis=0)
        return filtered

    found = slowed(slowed(rng.normal(size=(count + before, 3)), _between(rng, _SLOW)), _between(rng, _QUICK))
    vigour = slowed(slowed(rng.normal(size=(count + before, 1)), _WAVERS), _QUICK[0])
    found = (found * np.exp(_VIGOUR * vigour / vigour[before:].std()))[before:]
    scaled: Array = found * _between(rng, _SPEED) / found.std()
    return scaled


def _awake(rng: np.random.Generator, times: Array) -> Array:
    """1 while the hand moves, 0 while it rests, shape (n,)."""
    found, start = np.ones(len(times)), rng.exponential(3.0)
    while start < times[-1]:
        slowing, rest, quickening = rng.uniform(0.1, 0.4), 0.2 + rng.exponential(0.5), rng.uniform(0.1, 0.4)
        down = _eased((times - start) / slowing)
        up = _eased((times - start - slowing - rest) / quickening)
        found *= 1.0 - down + up
        start += slowing + rest + quickening + 0.3 + rng.exponential(3.0)
    return found


def _eased(share: Array) -> Array:
    part = np.clip(share, 0.0, 1.0)
    return part**3 * (10.0 - 15.0 * part + 6.0 * part**2)


def _between(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw between two bounds, evenly over the logarithm."""
    return float(np.exp(rng.uniform(*np.log(bounds))))
