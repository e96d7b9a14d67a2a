"""Settings of registration_node."""

from dataclasses import dataclass

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.pairing import PairingConfig
from twin_nodes.core.registration.drift import DriftConfig
from twin_nodes.core.registration.session import LandmarkSessionConfig
from twin_nodes.core.registration.swab_config import SwabSessionConfig


@dataclass(frozen=True)
class RegistrationNodeConfig:
    """Settings of registration_node."""

    tool: str = setting('The calibrated tool that touches the landmarks and swabs the surface.')
    patient: str = setting('Reference body on the patient.', 'patient')
    tracker_frame: str = setting('Frame of the poses.', 'tracker')
    anatomy_frame: str = setting('Frame of the landmarks.', 'anatomy')
    landmarks_file: str = setting(
        'Landmarks: YAML (name: [x, y, z] in metres), a PLUS configuration, or `room` for the simulated room.', ''
    )
    structure: str = setting('Structure of anatomy/surface that is swabbed; empty for landmarks alone.', '')
    cloud_topic: str = setting(
        'Surface points of another sensor (PointCloud2 in the frame of the patient or the tracker); empty for none.', ''
    )
    targets_file: str = setting(
        'Targets whose expected error (TRE) is told: YAML as the landmarks; empty for none.', ''
    )
    registration_file: str = setting('A result of `twin register`, published instead of collecting, and watched.', '')
    result_file: str = setting('Where a complete live result is written; empty for nowhere.', '')
    session: LandmarkSessionConfig = group(LandmarkSessionConfig)
    swab: SwabSessionConfig = group(SwabSessionConfig)
    drift: DriftConfig = group(DriftConfig)
    pairing: PairingConfig = group(PairingConfig)

    def __post_init__(self) -> None:
        """Check the relations between the settings."""
        if not (self.landmarks_file or self.registration_file or self.structure):
            raise ConfigError(
                'give landmarks_file to register live, or registration_file to use a result, or structure to swab'
            )
        if self.cloud_topic and not self.structure:
            raise ConfigError(f'cloud_topic={self.cloud_topic!r} needs the structure whose surface its points lie on')
