"""The stored result of a registration of an arm: where its base stands in a tracker or camera."""

from twin_nodes.core.geometry.covariance import inverse_covariance
from twin_nodes.core.geometry.se3 import inverse
from twin_nodes.core.robot.base_registration import BaseRegistration
from twin_nodes.io.results import StoredResult


def stored_base(
    result: BaseRegistration, arm: str, frame: str, *, date: str, data_sha256: str, data_file: str = ''
) -> StoredResult:
    """Return base and frame as `robot_world` results are stored: the base is the parent."""
    covariance = inverse_covariance(result.reference_T_base, result.covariance)
    errors = {
        'rms_residual_m': result.position_rms,
        'rms_residual_rad': result.rotation_rms,
        'rms_residual_without_offsets_m': result.position_rms_before,
        'samples_count': float(result.samples),
    }
    return StoredResult(
        kind='robot_world', parent_frame=f'{arm}_base', child_frame=frame,
        parent_T_child=inverse(result.reference_T_base), covariance=0.5 * (covariance + covariance.T), errors=errors,
        verdict=str(result.verdict), date=date, tool=arm, reasons=result.reasons, data_sha256=data_sha256,
        data_file=data_file,
    )  # fmt: skip
