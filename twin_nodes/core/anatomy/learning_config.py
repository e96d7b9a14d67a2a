"""Settings of learning the stiffness while the anatomy is followed."""

from __future__ import annotations

from dataclasses import dataclass

from twin_nodes.core.config import setting


@dataclass(frozen=True)
class LearningConfig:
    """How stiffness is learned from what a live anatomy sees and feels."""

    enabled: bool = setting('Whether stiffness is learned from clouds that are seen while tools hold tissue.', False)
    use: bool = setting(
        'Whether what was learned is used for the running model, where its interval is narrow (`narrower`).', False
    )
    narrower: float = setting(
        'Share of the width of the interval beforehand, below which that of a stiffness counts as learned.', 0.5,
        minimum=0.01, maximum=1.0,
    )  # fmt: skip
    prior_sigma: float = setting(
        'Expected error of each stiffness beforehand, of its logarithm.', 1.0, minimum=0.01, maximum=5.0
    )
    forces: tuple[str, ...] = setting('Tools whose `<tool>/measured_cf` tells the force that they bear.', ())
    force_on_tissue: bool = setting(
        'These topics tell the force of the tool on the tissue, not that of the tissue.', False
    )
    force_sigma: float = setting(
        'Standard deviation of a measured force along an axis, of its mean too (drift).', 0.05, unit='N', minimum=1e-4,
        maximum=10.0,
    )  # fmt: skip
    window: float = setting(
        'Forces so long before a cloud are averaged, and tools must have been still for so long.', 0.3, unit='s',
        minimum=0.01, maximum=5.0,
    )  # fmt: skip
    still: float = setting(
        'A tool that moved farther in that time was not still: the cloud is not learned from.', 0.001, unit='m',
        minimum=1e-5, maximum=0.02,
    )  # fmt: skip
    least_motion: float = setting(
        'Tissue in jaws that was moved less since it was last seen free tells nothing.', 0.004, unit='m', minimum=1e-4,
        maximum=0.1,
    )  # fmt: skip
    model_error: float = setting(
        'Error of mesh, law and grasp, as a share of the motion and of the force.', 0.1, minimum=0.0, maximum=1.0
    )
    max_points: int = setting('Points that are used of a cloud.', 250, minimum=20, maximum=4000)
    max_states: int = setting('Clouds that are learned from together, the newest.', 6, minimum=1, maximum=50)
    lag: float = setting(
        'What was learned counts so long after the cloud, by the stamps: a replay waits for it and is always the same.',
        5.0, unit='s', minimum=0.0, maximum=600.0,
    )  # fmt: skip
    write_at_end: bool = setting('Whether the result is written into the case when the node ends.', False)
