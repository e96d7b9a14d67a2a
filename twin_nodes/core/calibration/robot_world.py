"""Robot-world and hand-eye calibration from poses, A X = Z B, as sets or as streams whose clocks may disagree."""

import numpy as np

from twin_nodes.core.calibration.hand_eye import (
    HandEyeConfig,
    HandEyeResult,
    checked_poses,
    make_result,
    need_two_axes,
    turns_about_mean,
)
from twin_nodes.core.calibration.hand_eye_closed import consensus_start, shah
from twin_nodes.core.calibration.robot_world_model import Ties, select
from twin_nodes.core.calibration.temporal import TemporalConfig, find_coarse_offset, refine_offset
from twin_nodes.core.calibration.temporal_refine import Paired, fit_ties, pair_streams, without_rests
from twin_nodes.core.calibration.temporal_stream import PoseStream
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array


def solve_robot_world(base_T_hand: Array, target_T_eye: Array, config: HandEyeConfig | None = None) -> HandEyeResult:
    """Solve A X = Z B for poses measured at the same instants, such as those of a robot that stops for each.

    Args:
        base_T_hand: A: poses of the hand [m], shape (n, 4, 4).
        target_T_eye: B: poses of the eye in the frame of what it sees [m], shape (n, 4, 4).
        config: Limits.

    Raises:
        InputError: Wrong shapes, or NaN.
        DegenerateGeometryError: Too few poses, or turns about one axis only.
    """
    config = config or HandEyeConfig()
    hand, eye = checked_poses(base_T_hand, target_T_eye, config)
    turns = _turns(hand, eye, config)
    paired = Paired(hand, eye, None, np.arange(len(hand), dtype=np.int64), 0.0)
    start = consensus_start(hand, eye, shah)
    chosen = select(position=True, rotation=True, offset=False)
    fit = fit_ties(lambda _: paired, start, chosen, min_pairs=config.min_pairs)
    return make_result(fit, 0, turns, config, seeks_offset=False)


def calibrate_streams(
    hand: PoseStream,
    eye: PoseStream,
    config: HandEyeConfig | None = None,
    *,
    temporal: TemporalConfig | None = None,
    offset_ns: int | None = None,
) -> HandEyeResult:
    """Solve A X = Z B for two recorded streams, together with the offset of their clocks.

    Args:
        hand: base_T_hand.
        eye: target_T_eye; for a camera that reports the target in its own frame, the inverse of that.
        config: Limits.
        temporal: How the offset is sought.
        offset_ns: The offset where it is known; it is then not sought.

    Raises:
        InputError: A stream has no rotations.
        DegenerateGeometryError: The motion does not carry the offset or the ties.
    """
    config = config or HandEyeConfig()
    if not (hand.has_rotation and eye.has_rotation):
        raise InputError('hand-eye calibration needs poses, not positions')
    _turns(hand.poses, eye.poses, config)
    known_ns, shift = offset_ns, 0.0
    if known_ns is None:
        temporal = temporal or TemporalConfig()
        known_ns, _ = find_coarse_offset(hand, eye, temporal)
        shift = refine_offset(hand, eye, known_ns, temporal).ties.shift

    def pair(moved: float) -> Paired:
        return without_rests(pair_streams(hand, eye, known_ns, moved, max_gap=config.max_gap))

    paired = pair(shift)
    checked_poses(paired.base_T_hand, paired.target_T_eye, config)
    turns = _turns(paired.base_T_hand, paired.target_T_eye, config)
    start = consensus_start(paired.base_T_hand, paired.target_T_eye, shah)
    chosen = select(position=True, rotation=True, offset=offset_ns is None)
    start = Ties(start.hand_T_eye, start.base_T_target, shift)
    fit = fit_ties(pair, start, chosen, min_pairs=config.min_pairs)
    return make_result(fit, known_ns, turns, config, seeks_offset=offset_ns is None)


def _turns(hand: Array, eye: Array, config: HandEyeConfig) -> tuple[float, float]:
    return need_two_axes(turns_about_mean(hand[:, :3, :3]), turns_about_mean(eye[:, :3, :3]), config)
