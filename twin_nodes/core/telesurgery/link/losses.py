"""What takes packets away: Gilbert-Elliott in time, the runs of NetFI, outages, bursts at slots.

Everything that lives in time is drawn ahead of the packets from a stream of its own: the same seed is the same weather,
whoever sends through it and how often.
"""

import math

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.link.config import DurationConfig, LossConfig, OutageConfig
from twin_nodes.core.telesurgery.link.draws import Uniforms, stream


class GilbertElliott:
    """The two-state chain in continuous time, so that 50 Hz and 1 kHz see the same bad spells (FlowEmu's idea).

    The rates a (good to bad) and b are those whose sampling at rate f is the discrete chain of p and r exactly:
    a + b = -f ln(1 - p - r), a/(a + b) = p/(p + r).

    Args:
        config: p, r, and the rate they are stated for.
        seed: Seed of the link.
        direction: Number of the direction.
    """

    def __init__(self, config: LossConfig, *, seed: int, direction: int) -> None:
        p, r = config.good_to_bad, config.bad_to_good
        total = -config.rate_hz * math.log(1.0 - p - r)
        self._mean_good_ns = NANOSECONDS * (p + r) / (total * p)
        self._mean_bad_ns = NANOSECONDS * (p + r) / (total * r) if r > 0.0 else math.inf
        self._rng = stream(seed, direction, 3)
        self._bad = bool(self._rng.random() < p / (p + r))
        self._until_ns = 0.0
        self._extend()

    def _extend(self) -> None:
        mean = self._mean_bad_ns if self._bad else self._mean_good_ns
        self._until_ns += mean * float(self._rng.standard_exponential())

    def is_bad(self, t_ns: int) -> bool:
        """Return the state at t_ns, which must not fall from call to call."""
        while t_ns >= self._until_ns:
            self._bad = not self._bad
            self._extend()
        return self._bad


class Runs:
    """NetFI's packet loss (UVA 2026): runs of ⌊Pareto-II(α, λ)⌋ lost packets, then one that passes.

    The state that gives α and λ steps with each packet, also within a run.

    Args:
        config: Stay probabilities, α and λ per state.
        seed: Seed of the link.
        direction: Number of the direction.
    """

    def __init__(self, config: LossConfig, *, seed: int, direction: int) -> None:
        self._config = config
        self._uniform = Uniforms(stream(seed, direction, 4))
        self._state = 0
        self._left = -1

    def loses(self) -> bool:
        """Whether the next packet is lost."""
        step, length = self._uniform(), self._uniform()
        if step >= self._config.run_stay[self._state]:
            self._state = 1 - self._state
        if self._left < 0:
            alpha, scale = self._config.run_alpha[self._state], self._config.run_lambda[self._state]
            self._left = int(scale * ((1.0 - length) ** (-1.0 / alpha) - 1.0))
        self._left -= 1
        return self._left >= 0


class Outages:
    """Up and down in turn.

    Args:
        config: The laws of both lengths.
        seed: Seed of the link.
        direction: Number of the direction; an outage is one for both when they are given the same.
    """

    def __init__(self, config: OutageConfig, *, seed: int, direction: int) -> None:
        self._config = config
        self._rng = stream(seed, direction, 5)
        self._down = False
        self._until_ns = config.first * NANOSECONDS if config.first > 0.0 else self._length_ns(config.up)

    def _length_ns(self, law: DurationConfig) -> float:
        length = law.mean
        if law.law == 'uniform':
            length = float(self._rng.uniform(law.mean - law.spread, law.mean + law.spread))
        elif law.law == 'normal':
            length = float(self._rng.normal(law.mean, law.spread))
        return max(length, 1e-6) * NANOSECONDS

    def is_down(self, t_ns: int) -> bool:
        """Return the state at t_ns, which must not fall from call to call."""
        while t_ns >= self._until_ns:
            self._down = not self._down
            self._until_ns += self._length_ns(self._config.down if self._down else self._config.up)
        return self._down


class SlotBursts:
    """Loss in the first moments of some slots, as satellites in low orbits have when they hand over.

    Args:
        config: Period, length, share and loss.
        seed: Seed of the link.
        direction: Number of the direction.
    """

    def __init__(self, config: LossConfig, *, seed: int, direction: int) -> None:
        self._config = config
        self._rng = stream(seed, direction, 6)
        self._index = 0  # the link begins inside a slot, not with a handover
        self._has_burst = False

    def loss(self, t_ns: int) -> float:
        """Return the loss at t_ns, which must not fall from call to call."""
        t = t_ns / NANOSECONDS
        index = int(t // self._config.slot)
        while self._index < index:
            self._index += 1
            self._has_burst = bool(self._rng.random() < self._config.slot_probability)
        inside = t - index * self._config.slot < self._config.slot_burst
        return self._config.slot_loss if self._has_burst and inside else 0.0


class LossLaw:
    """All mechanisms of one direction together.

    Args:
        config: Settings.
        seed: Seed of the link.
        direction: Number of the direction.
    """

    def __init__(self, config: LossConfig, *, seed: int, direction: int) -> None:
        self._config = config
        self._chain = GilbertElliott(config, seed=seed, direction=direction) if config.good_to_bad > 0.0 else None
        self._runs = Runs(config, seed=seed, direction=direction) if config.run_stay else None
        self._slots = SlotBursts(config, seed=seed, direction=direction) if config.slot > 0.0 else None
        self._uniform = Uniforms(stream(seed, direction, 7))

    def loses(self, t_ns: int) -> bool:
        """Whether the packet that enters at t_ns is lost; the times must not fall from call to call."""
        config = self._config
        pass_probability = 1.0 - config.probability
        if self._chain is not None:
            pass_probability *= 1.0 - (config.loss_in_bad if self._chain.is_bad(t_ns) else config.loss_in_good)
        if self._slots is not None:
            pass_probability *= 1.0 - self._slots.loss(t_ns)
        by_run = self._runs is not None and self._runs.loses()
        return self._uniform() >= pass_probability or by_run


def mean_runs(lost: NDArray[np.bool_]) -> float:
    """Return the mean length of the runs of lost packets, 0 when none is lost; shape (n,)."""
    starts = np.count_nonzero(lost[1:] & ~lost[:-1]) + int(bool(len(lost)) and bool(lost[0]))
    return float(np.count_nonzero(lost) / starts) if starts else 0.0
