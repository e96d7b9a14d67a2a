"""Settings of the simulated operator and of the peg transfer."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array

STEP = 0.005  # period of commands and of the simulation [s]


@dataclass(frozen=True)
class OperatorConfig:
    """A visual servo with reaction time and tremor that turns to move-and-wait when the picture lags."""

    reaction: float = setting('From the picture to the hand.', 0.2, unit='s', minimum=0.05, maximum=0.3)
    gain: float = setting(
        'Visual servo: speed of the hand per distance to go.', 1.85, unit='1/s', minimum=0.1, maximum=10.0
    )
    lag_scale: float = setting(
        'Lag, beyond what goes unnoticed, at which an operator halves his gain.', 0.08, unit='s', minimum=0.01,
        maximum=10.0,
    )  # fmt: skip
    lag_power: float = setting(
        'Power of that lag by which the gain falls: below 1 a small lag counts more.', 0.42, minimum=0.1, maximum=3.0
    )
    lag_unnoticed: float = setting('A lag up to this goes unnoticed.', 0.035, unit='s', maximum=0.2)
    speed: float = setting('Largest speed of the hand.', 0.085, unit='m/s', minimum=0.005, maximum=0.3)
    smoothing: float = setting('Time constant of the hand.', 0.08, unit='s', minimum=0.01, maximum=1.0)
    tremor: float = setting(
        'Tremor, root mean square per axis, about 9 Hz.', 1e-4, unit='m', minimum=0.0, maximum=0.002
    )
    aim: float = setting('Error of aim per axis, held for about a second.', 3e-4, unit='m', minimum=0.0, maximum=0.005)
    wait_above: float = setting('Lag above which he moves and waits.', 0.302, unit='s', minimum=0.05, maximum=10.0)
    wait_gain: float = setting('Share of the way of one move, when waiting.', 0.87, minimum=0.2, maximum=1.0)
    wait_noise: float = setting('Spread of that share.', 0.1, minimum=0.0, maximum=0.5)
    wait_settle: float = setting('How long the picture must rest before the next move.', 0.01, unit='s', maximum=2.0)
    wait_caution: float = setting('Growth of the length of a move per second of lag.', 4.0, unit='1/s', maximum=20.0)
    notice: float = setting(
        'A picture that stands this long is a lost link.', 0.11, unit='s', minimum=0.02, maximum=2.0
    )
    regain: float = setting('The picture must move this long before he goes on.', 0.2, unit='s', maximum=5.0)
    regain_share: float = setting('And longer by this share of the time it stood.', 0.07, maximum=5.0)
    ask: float = setting('From the sight of the link being back to the press of resume.', 0.15, unit='s', maximum=5.0)

    def __post_init__(self) -> None:
        if self.notice <= 2.0 * STEP:
            raise ConfigError(f'notice={self.notice} s must be above two steps of {STEP} s')

    def parameters(self) -> Array:
        """Return the settings in the order that the kernels take them, shape (18,)."""
        return np.array([float(getattr(self, name)) for name in self.__dataclass_fields__])


@dataclass(frozen=True)
class TaskConfig:
    """One peg transfer: grasp, lift, hand over, carry, put down, go back."""

    grasp_time: float = setting('Closing the jaw on an object, seen to be closed.', 3.0, unit='s', maximum=20.0)
    handover_time: float = setting('Handing the object over.', 7.5, unit='s', maximum=20.0)
    release_time: float = setting('Opening the jaw, seen to be open.', 0.62, unit='s', maximum=20.0)
    settle: float = setting('How long a target must be seen within tolerance.', 0.57, unit='s', maximum=2.0)
    coarse: float = setting('Tolerance above an object or a peg.', 0.004, unit='m', minimum=1e-4, maximum=0.01)
    fine: float = setting('Tolerance at an object or a peg.', 0.0013, unit='m', minimum=1e-4, maximum=0.01)
    reach: float = setting(
        'An object within this distance is grasped or stays on its peg.', 0.0025, unit='m', maximum=0.01
    )
    press: float = setting('Depth below the object at which the tip hits the board.', 0.002, unit='m', maximum=0.01)
    slip: float = setting('Share of collisions that drop the object.', 0.3, maximum=1.0)
    longest: float = setting('A transfer that takes longer has failed.', 240.0, unit='s', minimum=10.0, maximum=1e4)

    def parameters(self) -> Array:
        """Return the settings in the order that the kernels take them, shape (10,)."""
        return np.array([float(getattr(self, name)) for name in self.__dataclass_fields__])
