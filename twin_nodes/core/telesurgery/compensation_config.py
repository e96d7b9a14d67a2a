"""Settings of the compensation of delay and loss on both sides."""

from dataclasses import dataclass

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError


def _check_box(low: tuple[float, ...], high: tuple[float, ...]) -> None:
    if len(low) != 3 or len(high) != 3:
        raise ConfigError('low and high need three numbers each')
    if any(a >= b for a, b in zip(low, high, strict=True)):
        raise ConfigError(f'low={list(low)} m must lie below high={list(high)} m on each axis')


@dataclass(frozen=True)
class GuardConfig:
    """What a command must satisfy before it may move a robot."""

    low: tuple[float, ...] = setting('Lowest corner of the workspace.', (-0.15, -0.15, -0.05), unit='m')
    high: tuple[float, ...] = setting('Highest corner of the workspace.', (0.15, 0.15, 0.15), unit='m')
    max_speed: float = setting('Largest speed between two commands.', 0.5, unit='m/s', minimum=0.001, maximum=10.0)
    max_turn: float = setting(
        'Largest turning speed between two commands.', 12.0, unit='rad/s', minimum=0.01, maximum=100.0
    )
    max_ahead: float = setting(
        'A stamp further in the future than this is refused.', 0.005, unit='s', minimum=0.0, maximum=1.0
    )
    max_age: float = setting(
        'Older commands than this are refused, also for replay.', 120.0, unit='s', minimum=0.1, maximum=3600.0
    )
    max_repeats: int = setting('A stamp may come this often under new numbers.', 3, minimum=1, maximum=100)
    twin_tolerance: float = setting(
        'A command may be this far from where the twin of the leader can be.',
        0.05,
        unit='m',
        minimum=0.001,
        maximum=1.0,
    )

    def __post_init__(self) -> None:
        _check_box(self.low, self.high)


@dataclass(frozen=True)
class PlaybackConfig:
    """How commands are played on the clock of the jitter buffer."""

    margin: float = setting('Added to the measured spread of transit times.', 0.005, unit='s', minimum=0.0, maximum=0.5)
    max_buffer: float = setting(
        'The buffer waits at most this long for late ones.', 0.4, unit='s', minimum=0.01, maximum=5.0
    )
    window: float = setting('Transit times of this long are kept in mind.', 10.0, unit='s', minimum=0.5, maximum=120.0)
    bridge: float = setting(
        'A late command is bridged by prediction for this long.', 0.03, unit='s', minimum=0.0, maximum=0.09
    )
    bridge_distance: float = setting('And over at most this way.', 0.001, unit='m', minimum=0.0, maximum=0.01)
    slow_after: float = setting(
        'Without a valid command for this long the robot slows down.', 0.05, unit='s', minimum=0.01, maximum=0.09
    )
    hold_after: float = setting('And stands after this long.', 0.09, unit='s', minimum=0.02, maximum=0.1)
    max_speed: float = setting('Largest speed of the robot.', 0.2, unit='m/s', minimum=0.001, maximum=2.0)
    max_turn: float = setting('Largest turning speed of the robot.', 6.0, unit='rad/s', minimum=0.01, maximum=50.0)
    keep: float = setting('Commands of this long are kept for replay.', 60.0, unit='s', minimum=1.0, maximum=600.0)

    def __post_init__(self) -> None:
        if self.slow_after >= self.hold_after:
            raise ConfigError(f'slow_after={self.slow_after} s must be below hold_after={self.hold_after} s')


@dataclass(frozen=True)
class OutageConfig:
    """The machine of modes: dwell times, and how motion is caught up."""

    outage_after: float = setting(
        'Without a valid command for this long the link is lost.', 0.3, unit='s', minimum=0.1, maximum=5.0
    )
    back_after: float = setting(
        'Commands must come this long before the link counts as back.', 0.1, unit='s', minimum=0.0, maximum=5.0
    )
    good_after: float = setting(
        'From degraded to connected after this long without a fault.', 0.5, unit='s', minimum=0.0, maximum=30.0
    )
    old_after: float = setting(
        'Motion that is later than usual by this is old: only the operator lets it be played.',
        0.3,
        unit='s',
        minimum=0.05,
        maximum=5.0,
    )
    follow_gap: float = setting(
        "The operator's `follow` lapses when the robot has stood for longer. An outage of the JHU law (0.8 s, at most "
        '1.1 s) and two round trips of 0.2 s for what was lost in it fit in.',
        1.5,
        unit='s',
        minimum=0.1,
        maximum=3.0,
    )
    time_scale: float = setting('Replay is at most this much faster than it was made.', 3.0, minimum=1.0, maximum=10.0)
    first_speed: float = setting(
        'Largest speed in the first second after a reconnection.', 0.019, unit='m/s', minimum=0.001, maximum=0.02
    )
    first_turn: float = setting(
        'Largest turning speed then; it grows as the speed does.', 0.5, unit='rad/s', minimum=0.01, maximum=6.0
    )
    first_seconds: float = setting('How long that holds.', 1.0, unit='s', minimum=0.0, maximum=30.0)
    replay_speed: float = setting(
        'Largest speed of replay and of the way back to the operator.', 0.1, unit='m/s', minimum=0.001, maximum=1.0
    )
    acceleration: float = setting('Growth of that speed.', 0.5, unit='m/s^2', minimum=0.01, maximum=100.0)
    joined: float = setting('Caught up when this close to the usual lag.', 0.02, unit='s', minimum=0.001, maximum=1.0)
    joined_distance: float = setting(
        'On the way back: joined when this near.', 2e-4, unit='m', minimum=1e-6, maximum=0.005
    )


@dataclass(frozen=True)
class DivergenceConfig:
    """When twin and reality are one."""

    tolerance: float = setting('Distance at which they part.', 0.004, unit='m', minimum=1e-4, maximum=0.1)
    agree_share: float = setting('They agree again below this share of it.', 0.6, minimum=0.05, maximum=1.0)
    dwell: float = setting('After agreeing for this long.', 0.05, unit='s', minimum=0.0, maximum=10.0)


@dataclass(frozen=True)
class ScalingConfig:
    """Motion scaling from the measured delay."""

    start: float = setting('Round trip up to which motion is not scaled.', 0.3, unit='s', minimum=0.0, maximum=10.0)
    end: float = setting('Round trip from which the least scale holds.', 0.8, unit='s', minimum=0.01, maximum=10.0)
    least: float = setting('That scale.', 0.6, minimum=0.05, maximum=1.0)
    pause_above: float = setting('Above this round trip motion pauses.', 1.5, unit='s', minimum=0.1, maximum=60.0)
    hysteresis: float = setting('Share by which the delay must fall back.', 0.15, minimum=0.0, maximum=0.9)
    dwell: float = setting('Least time between two changes.', 2.0, unit='s', minimum=0.0, maximum=60.0)
    step: float = setting('Smallest change of the scale.', 0.05, minimum=0.001, maximum=0.5)

    def __post_init__(self) -> None:
        if self.start >= self.end or self.end > self.pause_above:
            raise ConfigError(f'start={self.start} s < end={self.end} s <= pause_above={self.pause_above} s must hold')


@dataclass(frozen=True)
class AssistanceConfig:
    """Semi-autonomous completion of what is being carried when the link is lost."""

    enabled: bool = setting('Whether a person at the robot can allow it; off, there is none.', False)
    begin_after: float = setting('The link must be lost this long.', 1.0, unit='s', minimum=0.1, maximum=30.0)
    confidence: float = setting('The step must be recognised with this probability.', 0.9, minimum=0.5, maximum=1.0)
    speed: float = setting('Speed of the tip.', 0.02, unit='m/s', minimum=0.001, maximum=0.05)
    height: float = setting('How far it rises above the place before it crosses.', 0.02, unit='m', maximum=0.1)
    tolerance: float = setting('A point is reached this near.', 3e-4, unit='m', minimum=1e-5, maximum=0.005)
    release_time: float = setting('How long the jaw opens.', 0.5, unit='s', maximum=10.0)
    longest: float = setting('It stops after this time.', 20.0, unit='s', minimum=0.1, maximum=120.0)
    farthest: float = setting('And after this way.', 0.3, unit='m', minimum=0.001, maximum=1.0)
    scene_age: float = setting('What the local twin says may be this old.', 0.1, unit='s', minimum=0.01, maximum=1.0)


@dataclass(frozen=True)
class FollowerConfig:
    """Settings of the follower's side."""

    guard: GuardConfig = group(GuardConfig)
    playback: PlaybackConfig = group(PlaybackConfig)
    outage: OutageConfig = group(OutageConfig)
    divergence: DivergenceConfig = group(DivergenceConfig)
    assistance: AssistanceConfig = group(AssistanceConfig)

    def __post_init__(self) -> None:
        if self.outage.outage_after <= self.playback.hold_after:
            raise ConfigError(
                f'outage.outage_after={self.outage.outage_after} s must be above '
                f'playback.hold_after={self.playback.hold_after} s'
            )


@dataclass(frozen=True)
class LeaderConfig:
    """Settings of the leader's side."""

    redundancy: int = setting('Commands in each packet.', 20, minimum=1, maximum=100)
    backlog_per_packet: int = setting('Buffered commands sent beside them after an outage.', 20, minimum=0, maximum=200)
    keep: float = setting('Commands of this long are kept.', 60.0, unit='s', minimum=1.0, maximum=600.0)
    max_speed: float = setting('Buffered motion is shaped to this speed.', 0.15, unit='m/s', minimum=0.001, maximum=2.0)
    max_acceleration: float = setting('And to this acceleration.', 5.0, unit='m/s^2', minimum=0.01, maximum=1000.0)
    low: tuple[float, ...] = setting('The hand meets a wall at this lowest corner.', (-0.14, -0.14, -0.04), unit='m')
    high: tuple[float, ...] = setting('And at this highest one.', (0.14, 0.14, 0.14), unit='m')
    correction_time: float = setting(
        'Time constant with which the predicted robot is corrected.', 0.3, unit='s', minimum=0.01, maximum=10.0
    )
    correction_speed: float = setting('And at most this fast.', 0.01, unit='m/s', minimum=1e-4, maximum=0.1)
    scaling: ScalingConfig = group(ScalingConfig)

    def __post_init__(self) -> None:
        _check_box(self.low, self.high)
