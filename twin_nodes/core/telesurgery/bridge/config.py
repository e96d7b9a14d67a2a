"""Settings of the bridge between two sites."""

from dataclasses import dataclass

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError

ROLES = ('leader', 'follower')


@dataclass(frozen=True)
class RedundancyConfig:
    """How many of the last commands go into each datagram."""

    min_copies: int = setting('At least so many.', 8, minimum=1, maximum=64)
    max_copies: int = setting('At most so many; as long as they span no more than playout.max_added.', 21, minimum=1,
                              maximum=64)  # fmt: skip
    target: float = setting('Share of commands that may stay lost.', 0.0002, minimum=1e-9, maximum=1.0)
    full_loss: float = setting(
        'Measured loss above which all copies go: no estimate of the bursts is sure enough then.',
        0.05,
        minimum=0.0,
        maximum=1.0,
    )
    datagram: int = setting('Largest datagram, below the MTU of the path less its headers.', 1400, unit='B',
                            minimum=200, maximum=65000)  # fmt: skip

    max_bps: float = setting('Most that each topic may take of the link.', 4e6, unit='bit/s', minimum=1e4)
    queue: float = setting('Standing queue above which less is sent.', 0.05, unit='s', minimum=0.001, maximum=10.0)
    max_stride: int = setting(
        'At least each n-th command is sent at once; the others go with it.', 4, minimum=1, maximum=16
    )

    def __post_init__(self) -> None:
        if self.min_copies > self.max_copies:
            raise ConfigError(f'min_copies={self.min_copies} is above max_copies={self.max_copies}')


@dataclass(frozen=True)
class PlayoutConfig:
    """The jitter buffer: when a command that came is played."""

    percentile: float = setting('Share of the measured delays that are waited for.', 0.998, minimum=0.5, maximum=1.0)
    window: float = setting('Span over which delays are measured.', 10.0, unit='s', minimum=0.5, maximum=600.0)
    floor_window: float = setting('Span of the median delay that the wait is counted from.', 0.5, unit='s',
                                  minimum=0.05, maximum=60.0)  # fmt: skip
    max_added: float = setting('Most that is waited beyond the median delay.', 0.1, unit='s', minimum=0.0, maximum=5.0)
    slew: float = setting('How fast a wait that became too long shrinks.', 0.05, unit='s/s', minimum=0.0, maximum=1.0)
    late_limit: float = setting('A command later than this after its time is not played.', 0.1, unit='s', minimum=0.0,
                                maximum=5.0)  # fmt: skip
    late: str = setting(
        'Which of the commands that came late are played: the newest of them, for a robot that obeys at once, or all, '
        'in order, for compensation_node, which plays them by their stamps and needs the whole path.',
        'newest',
        choices=('newest', 'all'),
    )
    capacity: int = setting('Commands that may wait.', 1024, minimum=8, maximum=65536)


@dataclass(frozen=True)
class BridgeConfig:
    """The bridge of one site."""

    role: str = setting('Which site this is; the leader opens the session.', choices=ROLES)
    replay_window: int = setting('Datagrams older than the newest by more than this are refused.', 1024, minimum=64,
                                 maximum=65536)  # fmt: skip
    probe_period: float = setting('Period of the probes for clock, delay and loss.', 0.04, unit='s', minimum=0.005,
                                  maximum=1.0)  # fmt: skip
    hold_after: float = setting('Nothing valid for so long means hold.', 0.1, unit='s', minimum=0.01, maximum=5.0)
    session_retry: float = setting('Period of tries to open a session.', 0.3, unit='s', minimum=0.05, maximum=60.0)
    session_silence: float = setting('Silence after which the leader opens a new one.', 1.0, unit='s', minimum=0.2,
                                     maximum=600.0)  # fmt: skip
    max_stamp_ahead: float = setting('A stamp further ahead of the clock is refused.', 0.005, unit='s', minimum=0.0,
                                     maximum=1.0)  # fmt: skip
    max_stamp_age: float = setting('A command older than this when it comes to the bridge is refused.', 0.1, unit='s',
                                   minimum=0.001, maximum=10.0)  # fmt: skip
    clock_window: float = setting('Span over which the clock offset is bounded.', 5.0, unit='s', minimum=1.0,
                                  maximum=600.0)  # fmt: skip
    max_skew_ppm: float = setting('Largest rate error between both clocks.', 200.0, unit='ppm', minimum=0.0,
                                  maximum=1000.0)  # fmt: skip
    degraded_loss: float = setting('Loss above which the link is called degraded.', 0.05, minimum=0.0, maximum=1.0)
    degraded_delay: float = setting('One-way delay above which it is called degraded.', 0.3, unit='s', minimum=0.0,
                                    maximum=10.0)  # fmt: skip
    redundancy: RedundancyConfig = group(RedundancyConfig)
    playout: PlayoutConfig = group(PlayoutConfig)
