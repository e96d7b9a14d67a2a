"""The stored result of a pivot and a spin together: the whole frame of a tip."""

from twin_nodes.core.calibration.spin import SpinResult
from twin_nodes.core.calibration.tip_frame import tip_tie
from twin_nodes.io.results import VERDICTS, StoredResult


def stored_tip_frame(
    tip: StoredResult, spin: SpinResult, *, date: str, data_sha256: str, data_file: str
) -> StoredResult:
    """Return the result of a pivot with the axis of a spin put in; the worse of both verdicts holds."""
    pose, covariance = tip_tie(tip.parent_T_child[:3, 3], tip.covariance[:3, :3], spin)
    return StoredResult(
        kind='tool_tip',
        parent_frame=tip.parent_frame,
        child_frame=tip.child_frame,
        parent_T_child=pose,
        covariance=covariance,
        errors=tip.errors | spin_errors(spin),
        verdict=max(str(tip.verdict), str(spin.verdict), key=VERDICTS.index),
        date=date,
        tool=tip.tool,
        reasons=tip.reasons + spin.reasons,
        data_sha256=data_sha256,
        data_file=' '.join(filter(None, (tip.data_file, data_file))),
    )


def spin_errors(spin: SpinResult) -> dict[str, float]:
    """Return the figures of a spin for a result file."""
    return {
        'axis_sigma_rad': spin.axis_sigma,
        'axis_wander_rad': spin.wander,
        'spin_rad': spin.spin,
        'axis_to_marker_m': spin.lever,
        'spin_poses_count': float(len(spin.residuals)),
        'spin_outliers_count': float(len(spin.outliers)),
    }
