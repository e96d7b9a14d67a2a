"""Whether the chain of a tracked camera may be used, and why not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.camera_views import LeftOut
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True)
class ScopeLimits:
    """When the chain of a tracked camera is good enough."""

    good_frames: int = setting('Fewer pictures are doubtful.', 8, minimum=1, maximum=10000)
    warn_chain: float = setting('Reprojection by the chain above which it is doubtful [px].', 5.0, minimum=0.0)
    refuse_chain: float = setting('Reprojection by the chain above which it is refused [px].', 30.0, minimum=0.0)
    warn_position_sigma: float = setting(
        'Uncertainty of the hand-eye above which it is doubtful.', 0.002, unit='m', minimum=0.0, maximum=1.0
    )
    refuse_position_sigma: float = setting(
        'Uncertainty of the hand-eye above which it is refused.', 0.02, unit='m', minimum=0.0, maximum=1.0
    )
    warn_noise_factor: float = setting(
        'Tracker noise above the configured, as a factor, that is doubtful.', 5.0, minimum=1.0
    )
    refuse_lever: float = setting(
        'Distance of the camera from its marker above which it is refused: no scope is that long.',
        1.0,
        unit='m',
        minimum=0.0,
    )
    refuse_outliers: float = setting(
        'Share of pictures left out above which it is refused.', 0.4, minimum=0.0, maximum=1.0
    )

    def __post_init__(self) -> None:
        for low, high in (('warn_chain', 'refuse_chain'), ('warn_position_sigma', 'refuse_position_sigma')):
            if getattr(self, high) < getattr(self, low):
                raise ConfigError(f'{high}={getattr(self, high)} must not be below {low}={getattr(self, low)}')


def judge_scope(
    chain_px: float,
    held_out_px: float | None,
    held_out_reason: str,
    covariance: Array,
    noise_factor: float,
    frames: int,
    left_out: Sequence[LeftOut],
    limits: ScopeLimits,
    *,
    lever: float,
    shift: float,
) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and its reasons.

    Args:
        chain_px: Mean reprojection by the whole chain [px].
        held_out_px: The same of pictures that the ties do not know; None where it could not be measured.
        held_out_reason: Why not, or ''.
        covariance: Of the hand-eye, shape (6, 6).
        noise_factor: By how much the tracker's noise is above the configured.
        frames: How many pictures were used.
        left_out: What was not.
        limits: When it is doubtful, and when refused.
        lever: Distance of the left camera from its marker [m].
        shift: Where the left camera stands in the right one along its x [m]; 0 for one camera.
    """
    sigma = float(np.sqrt(np.trace(covariance[:3, :3])))
    worst = max(chain_px, held_out_px or 0.0)
    refusals, doubts = list[str](), list[str]()
    if worst > limits.refuse_chain:
        refusals.append(f'reprojection by the chain {worst:.1f} px is above {limits.refuse_chain:g} px')
    elif worst > limits.warn_chain:
        doubts.append(f'reprojection by the chain {worst:.1f} px is above {limits.warn_chain:g} px')
    if sigma > limits.refuse_position_sigma:
        refusals.append(f'the hand-eye is known to {sigma * 1e3:.1f} mm only: turn the pattern more, about two axes')
    elif sigma > limits.warn_position_sigma:
        doubts.append(f'the hand-eye is known to {sigma * 1e3:.1f} mm only: turn the pattern more, about two axes')
    if lever > limits.refuse_lever:
        refusals.append(
            f'the camera stands {lever * 1e3:.0f} mm from its marker, limit {limits.refuse_lever * 1e3:g} mm: are the '
            'poses of that marker inverted, or those of another one?'
        )
    if shift > 0.0:
        doubts.append('the right camera stands to the left of the left one: are the sides swapped?')
    if len(left_out) > limits.refuse_outliers * (frames + len(left_out)):
        refusals.append(f'{len(left_out)} of {frames + len(left_out)} pictures had to be left out')
    if frames < limits.good_frames:
        doubts.append(f'{frames} pictures are few, {limits.good_frames} are better')
    if noise_factor > limits.warn_noise_factor:
        doubts.append(
            f'what is left over is {noise_factor:.1f} times the noise of the tracker: does the pattern sit still on '
            'its marker, and do tracker and pictures belong to one instant?'
        )
    if held_out_px is None and held_out_reason != 'not asked for':
        doubts.append(f'not tested on pictures left out: {held_out_reason}')
    doubts += [f'{out.name}: {out.reason}' for out in left_out]
    if refusals:
        return Verdict.REFUSE, tuple(refusals)
    return (Verdict.WARN if doubts else Verdict.ACCEPT), tuple(doubts)
