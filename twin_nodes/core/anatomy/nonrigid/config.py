"""How the deformation of an organ is found, and when the answer is good enough."""

from __future__ import annotations

from dataclasses import dataclass

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError


@dataclass(frozen=True)
class NonrigidConfig:
    """How the deformation of an organ is found, and when the answer is good enough."""

    coarse_points: int = setting('points of the first steps', 350, minimum=20)
    coarse_steps: int = setting('first steps at most, with these points', 14, minimum=1, maximum=200)
    fine_steps: int = setting('steps with all points, at most', 16, minimum=1, maximum=200)
    tolerance: float = setting('movement in a step, RMS over the organ, that ends it', 1e-4, unit='m', minimum=1e-9)
    slip_sigma: float = setting(
        'error of the rigid registration at the start, in the middle of what is seen', 0.002, unit='m', minimum=1e-5
    )
    slip_turn_sigma: float = setting('the same, of its rotation', 0.04, unit='rad', minimum=1e-4)
    pose_sigma: float = setting(
        'the error at the centre of mass, where no surface is seen', 0.005, unit='m', minimum=1e-5
    )
    turn_sigma: float = setting('the same, of its rotation', 0.06, unit='rad', minimum=1e-4)
    tuning: float = setting('a point so many sigmas off has a quarter of its weight', 3.0, minimum=1.0)
    normal_limit: float = setting(
        'a point whose measured normal is turned farther away is no correspondence', 1.2, unit='rad', minimum=0.1
    )
    discrepancy: float = setting(
        'error of the mesh and the modes that neighbouring points share', 0.0002, unit='m', minimum=0.0
    )
    discrepancy_reach: float = setting('how far they share it', 0.012, unit='m', minimum=1e-4)
    bare_load: float = setting(
        'loads on what is seen and not touched, over those elsewhere', 0.1, minimum=0.001, maximum=1.0
    )
    bare_reach: float = setting('how far around a point the surface counts as seen', 0.012, unit='m', minimum=0.0)
    touch_reach: float = setting('how far around a tracked point it counts as touched', 0.02, unit='m', minimum=0.0)
    load_freedom: float = setting(
        'degrees of freedom of the loads: the fewer, the more a few places bear alone', 2.0, minimum=0.1, maximum=1e6
    )
    prior_weight: float = setting(
        'modes that what is expected beforehand of the amplitude counts for', 4.0, minimum=0.1
    )
    max_amplitude: float = setting(
        'amplitude over the expected one, at most; a cloud that asks for it is refused', 4.0, minimum=0.1
    )
    refuse_step: float = setting('length of the last step above which there is no answer', 0.001, unit='m', minimum=0.0)
    model_error: float = setting(
        'error of a place by a wrong stiffness, as a share of its displacement without the rigid motion', 0.2,
        minimum=0.0, maximum=2.0,
    )  # fmt: skip
    inflation: float = setting(
        'calibrated scale of the covariance by noise and prior', 1.2, minimum=0.01, maximum=100.0
    )
    doubling: float = setting(
        'deformation, RMS over the organ, at which that scale has doubled', 0.0055, unit='m', minimum=1e-4
    )
    interior: bool = setting('whether the inside is solved again by the hyperelastic law, the outside held', False)
    min_points: int = setting('points below which there is no answer', 30, minimum=6)
    refuse_rms: float = setting('RMS residual of the inliers above which it is refused', 0.004, unit='m', minimum=0.0)
    refuse_ratio: float = setting('the same over the sigma of the points', 3.0, minimum=1.0)
    warn_inliers: float = setting('share of points on the organ below which it is doubtful', 0.8, minimum=0.0)
    refuse_inliers: float = setting('the same, below which it is refused', 0.6, minimum=0.0)
    refuse_displacement: float = setting(
        'largest displacement over the size of the organ above which it is refused', 0.35, minimum=0.0
    )
    refuse_bend: float = setting(
        'deformation, RMS over the organ, over the one expected, above which it is refused', 2.0, minimum=0.1
    )
    refuse_volume: float = setting('change of volume above which it is refused', 0.15, minimum=0.0)

    def __post_init__(self) -> None:
        if self.refuse_inliers > self.warn_inliers:
            raise ConfigError('refuse_inliers must not be above warn_inliers')
