"""Settings of an emulated link: one direction, both with the sites' clocks, and the checks between them."""

from __future__ import annotations

from dataclasses import dataclass

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError

DELAY_LAWS = ('constant', 'normal', 'lognormal', 'hyperexponential', 'pareto', 'trace')
_OF_LAW = {
    'normal': 'sigma',
    'lognormal': 'median',
    'hyperexponential': 'weights',
    'pareto': 'scale',
    'trace': 'trace_file',
}
DURATION_LAWS = ('none', 'constant', 'uniform', 'normal')


@dataclass(frozen=True)
class DelayConfig:
    """Delay of one direction: base + law + profile + slot, not below the floor."""

    law: str = setting('Law of what is added to the base.', 'constant', choices=DELAY_LAWS)
    base: float = setting('Constant part.', 0.0, unit='s', minimum=0.0, maximum=10.0)
    sigma: float = setting('Standard deviation (normal).', 0.0, unit='s', minimum=0.0, maximum=10.0)
    median: float = setting('Median (lognormal).', 0.0, unit='s', minimum=0.0, maximum=10.0)
    shape: float = setting('Standard deviation of the logarithm (lognormal).', 0.5, minimum=0.0, maximum=5.0)
    weights: tuple[float, ...] = setting('Weights of the exponentials (hyperexponential).', (), minimum=0.0)
    means: tuple[float, ...] = setting('Means of the exponentials.', (), unit='s', minimum=0.0, maximum=100.0)
    scale: float = setting('Scale s of s(U^(-1/alpha) - 1) (pareto).', 0.0, unit='s', minimum=0.0, maximum=10.0)
    alpha: float = setting('Tail exponent (pareto).', 3.0, minimum=1.01, maximum=100.0)
    trace_file: str = setting(
        'File of measured delays (trace): a table with a header, or what ping -D prints; synthetic for a made one.', ''
    )
    trace_scale: float = setting(
        'Factor on the trace; 0.5 makes a way of a round trip.', 1.0, minimum=0.0, maximum=10.0
    )
    floor: float = setting('Smallest delay.', 0.0, unit='s', minimum=0.0, maximum=10.0)
    fifo: bool = setting('Whether packets keep their order; else each takes its own delay and they overtake.', True)
    correlation: float = setting(
        'Time constant with which the delays of neighbours resemble (Gaussian copula); 0 for independent.', 0.0,
        unit='s', minimum=0.0, maximum=100.0,
    )  # fmt: skip
    slot: float = setting('Period after which a slot part is drawn anew; 0 for none.', 0.0, unit='s', minimum=0.0)
    slot_low: float = setting('Least slot part.', 0.0, unit='s', minimum=0.0, maximum=10.0)
    slot_high: float = setting('Largest slot part.', 0.0, unit='s', minimum=0.0, maximum=10.0)
    profile_times: tuple[float, ...] = setting('Times of the profile since the start.', (), unit='s', minimum=0.0)
    profile_values: tuple[float, ...] = setting('Added delay at these times.', (), unit='s', minimum=0.0, maximum=10.0)
    profile_ramp: bool = setting('Whether the profile goes in ramps; else in steps.', False)
    profile_period: float = setting('Period of the profile; 0 for once.', 0.0, unit='s', minimum=0.0)

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.means):
            raise ConfigError(f'weights has {len(self.weights)} numbers, means {len(self.means)}: give one each')
        if self.law == 'hyperexponential' and not (self.weights and sum(self.weights) > 0.0):
            raise ConfigError('law=hyperexponential needs weights above 0 and means')
        if self.law == 'trace' and not self.trace_file:
            raise ConfigError("law=trace needs trace_file, a file or 'synthetic'")
        for law, name in _OF_LAW.items():
            value = getattr(self, name)
            if value and law != self.law:
                raise ConfigError(f'{name}={value} does nothing with law={self.law}; it belongs to law: {law}')
            if not value and law == self.law:
                raise ConfigError(f'law={law} needs {name} above 0')
        if len(self.profile_times) != len(self.profile_values):
            raise ConfigError('profile_times and profile_values must have as many numbers each')
        if any(b < a for a, b in zip(self.profile_times, self.profile_times[1:], strict=False)):
            raise ConfigError(f'profile_times={list(self.profile_times)} must rise')
        if self.slot_low > self.slot_high:
            raise ConfigError(f'slot_low={self.slot_low} s is above slot_high={self.slot_high} s')


@dataclass(frozen=True)
class DurationConfig:
    """Law of a length of time."""

    law: str = setting('Law; none for never.', 'none', choices=DURATION_LAWS)
    mean: float = setting('Mean.', 0.0, unit='s', minimum=0.0, maximum=1e4)
    spread: float = setting('Half width (uniform) or standard deviation (normal).', 0.0, unit='s', minimum=0.0)

    def __post_init__(self) -> None:
        if self.law == 'uniform' and self.spread > self.mean:
            raise ConfigError(f'spread={self.spread} s is above mean={self.mean} s: no length of time is below 0')


@dataclass(frozen=True)
class OutageConfig:
    """Outages: up and down in turn, up first; nothing passes while down."""

    down: DurationConfig = group(DurationConfig)
    up: DurationConfig = group(DurationConfig)
    first: float = setting('How long it is up at first; 0 for the law of up.', 0.0, unit='s', minimum=0.0, maximum=1e4)

    def __post_init__(self) -> None:
        if (self.down.law == 'none') != (self.up.law == 'none'):
            raise ConfigError('outage needs both down.law and up.law, or neither')
        if self.up.law != 'none' and self.up.mean + self.down.mean <= 0.0:
            raise ConfigError('outage.up.mean and outage.down.mean are both 0')


@dataclass(frozen=True)
class LossConfig:
    """Loss of one direction; the mechanisms add to one another."""

    probability: float = setting('Loss of each packet by itself.', 0.0, minimum=0.0, maximum=1.0)
    good_to_bad: float = setting('Gilbert-Elliott p per packet at rate_hz.', 0.0, minimum=0.0, maximum=1.0)
    bad_to_good: float = setting('Gilbert-Elliott r per packet at rate_hz.', 0.5, minimum=0.0, maximum=1.0)
    loss_in_bad: float = setting('Loss in the bad state.', 1.0, minimum=0.0, maximum=1.0)
    loss_in_good: float = setting('Loss in the good state.', 0.0, minimum=0.0, maximum=1.0)
    rate_hz: float = setting('Packet rate for which p and r are stated.', 200.0, unit='Hz', minimum=0.1, maximum=1e6)
    run_stay: tuple[float, ...] = setting('NetFI runs: probability to stay in state 0 and 1.', (), minimum=0.0)
    run_alpha: tuple[float, ...] = setting('NetFI runs: alpha of the Pareto-II length per state.', (), minimum=0.0)
    run_lambda: tuple[float, ...] = setting('NetFI runs: lambda of the Pareto-II length per state.', (), minimum=0.0)
    slot: float = setting('Period of slots that may begin with a burst; 0 for none.', 0.0, unit='s', minimum=0.0)
    slot_burst: float = setting('Length of such a burst.', 0.0, unit='s', minimum=0.0)
    slot_probability: float = setting('Share of slots that begin with one.', 0.0, minimum=0.0, maximum=1.0)
    slot_loss: float = setting('Loss in such a burst.', 0.0, minimum=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        if self.good_to_bad > 0.0 and not 0.0 < self.good_to_bad + self.bad_to_good < 1.0:
            both = self.good_to_bad + self.bad_to_good
            raise ConfigError(f'good_to_bad + bad_to_good = {both:g} must be below 1, else no chain in time has it')
        lengths = {len(self.run_stay), len(self.run_alpha), len(self.run_lambda)}
        if lengths not in ({0}, {2}):
            raise ConfigError('run_stay, run_alpha and run_lambda need two numbers each, or none')
        if any(value > 1.0 for value in self.run_stay):
            raise ConfigError(f'run_stay={list(self.run_stay)} are probabilities, at most 1')
        if any(value <= 0.0 for value in (*self.run_alpha, *self.run_lambda)):
            raise ConfigError('run_alpha and run_lambda must be above 0')


@dataclass(frozen=True)
class BandwidthConfig:
    """Bottleneck with a drop-tail queue, by rate or by a mahimahi trace."""

    rate_bps: float = setting('Rate; 0 for no limit.', 0.0, unit='bit/s', minimum=0.0, maximum=1e12)
    queue_bytes: int = setting('Queue in front of it.', 65536, unit='B', minimum=1, maximum=2**31)
    overhead_bytes: int = setting('Added to each packet, 28 for IPv4 and UDP.', 28, unit='B', minimum=0, maximum=2000)
    trace_file: str = setting('mahimahi file (a line per 1500 B, its time in ms); synthetic for a made one.', '')

    def __post_init__(self) -> None:
        if self.rate_bps > 0.0 and self.trace_file:
            raise ConfigError(f'rate_bps={self.rate_bps:g} and trace_file={self.trace_file!r}: give one of both')


@dataclass(frozen=True)
class DirectionConfig:
    """One direction of a link."""

    delay: DelayConfig = group(DelayConfig)
    loss: LossConfig = group(LossConfig)
    outage: OutageConfig = group(OutageConfig)
    bandwidth: BandwidthConfig = group(BandwidthConfig)
    reorder_probability: float = setting('Share of packets that are held back.', 0.0, minimum=0.0, maximum=1.0)
    reorder_delay: float = setting('How long they are held back.', 0.02, unit='s', minimum=0.0, maximum=10.0)
    duplicate_probability: float = setting('Share of packets that come twice.', 0.0, minimum=0.0, maximum=1.0)
    duplicate_delay: float = setting('How much later the second comes.', 0.001, unit='s', minimum=0.0, maximum=10.0)


@dataclass(frozen=True)
class SiteClockConfig:
    """Clock of a site against true time."""

    offset: float = setting('Offset at the start.', 0.0, unit='s', minimum=-1e6, maximum=1e6)
    skew_ppm: float = setting('Rate error.', 0.0, unit='ppm', minimum=-1000.0, maximum=1000.0)
    step_times: tuple[float, ...] = setting('Times of steps since the start.', (), unit='s', minimum=0.0)
    steps: tuple[float, ...] = setting('Size of these steps.', (), unit='s', minimum=-1e6, maximum=1e6)

    def __post_init__(self) -> None:
        if len(self.step_times) != len(self.steps):
            raise ConfigError('step_times and steps must have as many numbers each')


@dataclass(frozen=True)
class AttackConfig:
    """What an attacker on the path does, per packet that passes."""

    flip: float = setting('Share of packets with a bit turned.', 0.0, minimum=0.0, maximum=1.0)
    truncate: float = setting('Share of packets cut short.', 0.0, minimum=0.0, maximum=1.0)
    replay: float = setting('Share of packets after which an older one is sent again.', 0.0, minimum=0.0, maximum=1.0)
    forge: float = setting('Share of packets after which a made-up one is sent.', 0.0, minimum=0.0, maximum=1.0)
    flood: int = setting('Made-up packets that are sent with each.', 0, minimum=0, maximum=1000)


@dataclass(frozen=True)
class LinkConfig:
    """A link between two sites: forward from the leader to the follower, backward from the follower to the leader."""

    name: str = setting('Name of the scenario, such as N7.', '')
    title: str = setting('What it stands for, in a word, such as geo.', '')
    source: str = setting('Where its numbers come from.', '')
    forward: DirectionConfig = group(DirectionConfig)
    backward: DirectionConfig = group(DirectionConfig)
    leader_clock: SiteClockConfig = group(SiteClockConfig)
    follower_clock: SiteClockConfig = group(SiteClockConfig)
    attack: AttackConfig = group(AttackConfig)


def gilbert_elliott(loss: float, mean_burst: float) -> tuple[float, float]:
    """Return p and r of the chain with this loss and this mean run of lost packets: r = 1/b, p = rL/(1 - L).

    Raises:
        ConfigError: for a loss outside [0, 1) or a burst below 1 packet.
    """
    if not 0.0 <= loss < 1.0 or mean_burst < 1.0:
        raise ConfigError(f'loss={loss} must lie in [0, 1) and mean_burst={mean_burst} be at least 1 packet')
    back = 1.0 / mean_burst
    return back * loss / (1.0 - loss), back
