"""Settings of tracker_node, and what it reads once at its start."""

import re
from dataclasses import dataclass

from twin_nodes.core.config import group, nearest, setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.tracking.tool_tracker import PoseCorrection
from twin_nodes.core.tracking.tracking_config import TrackingConfig
from twin_nodes.core.tracking.visual.config import VisualConfig
from twin_nodes.io.openigtlink.client import OpenIGTLinkSourceConfig

SOURCES = ('openigtlink', 'crtk', 'recording', 'simulator', 'video', 'camera')
ROS_NAME = re.compile(r'[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)


@dataclass(frozen=True)
class CrtkConfig:
    """Settings of the source 'crtk'."""

    prefix: str = setting('Namespace in front of `<device>/measured_cp`, such as NDI/.', 'NDI/')
    frame: str = setting('frame_id that the poses must carry; empty for any.', '')


@dataclass(frozen=True)
class RecordingConfig:
    """Settings of the sources 'recording' and 'simulator'."""

    path: str = setting('PLUS sequence (.igs.mha), NDI CSV or folder of matrices.', '')
    rate: float = setting('Speed; 1 is real time.', 1.0, minimum=0.01, maximum=1000.0)
    loop: bool = setting('Whether to start again at the end.', False)


@dataclass(frozen=True)
class VideoConfig:
    """Settings of the source 'video'."""

    path: str = setting('Video file or folder of images.', '')
    rate_hz: float = setting(
        'Images per second; 0 for what the file or the names of the images say.',
        0.0,
        unit='Hz',
        minimum=0.0,
        maximum=100000.0,
    )
    start: float = setting(
        'Stamp of the first image; below 0 for 1000 s, or the time in the names of the images.',
        -1.0,
        unit='s',
        maximum=4e9,
    )
    rate: float = setting('Speed; 1 is real time.', 1.0, minimum=0.01, maximum=1000.0)
    loop: bool = setting('Whether to start again at the end.', False)


@dataclass(frozen=True)
class CameraConfig:
    """Settings of the camera of the sources 'camera' and 'video'."""

    topic: str = setting("Images of the source 'camera'.", 'camera/image_raw')
    compressed: bool = setting('Whether the topic carries CompressedImage.', False)
    info_topic: str = setting('CameraInfo; not used where a file is given.', 'camera/camera_info')
    file: str = setting('Calibration: YAML of ROS, OpenCV or a 3×3 matrix; the source video needs one.', '')
    bodies: tuple[str, ...] = setting(
        'Files that say where the tags sit on each body; the name of a body is a device name.', ()
    )


@dataclass(frozen=True)
class MountConfig:
    """Where the tracker stands in the room; a fixed edge on tf."""

    xyz: tuple[float, ...] = setting('Position of the tracker in the world.', (0.0, 0.0, 0.0), unit='m')
    rpy: tuple[float, ...] = setting('Roll, pitch and yaw of the tracker in the world.', (0.0, 0.0, 0.0), unit='rad')

    def __post_init__(self) -> None:
        """Check the lengths."""
        for key, value in (('xyz', self.xyz), ('rpy', self.rpy)):
            if len(value) != 3:
                raise ConfigError(f'{key}={list(value)} must have 3 numbers')


@dataclass(frozen=True)
class DistortionConfig:
    """Electromagnetic distortion that is corrected before the gate and the filter."""

    tools: tuple[str, ...] = setting('Tools whose poses are corrected.', ())
    files: tuple[str, ...] = setting('Result of `twin calibrate distortion` for each of them, in the same order.', ())

    def __post_init__(self) -> None:
        """Check that both pair up."""
        if len(self.tools) != len(self.files):
            raise ConfigError(f'tools has {len(self.tools)} entries, files has {len(self.files)}: they must pair up')


@dataclass(frozen=True)
class TrackerNodeConfig:
    """Settings of tracker_node."""

    source: str = setting('Where the poses come from.', choices=SOURCES)
    tracker_frame: str = setting('Frame of the tracker.', 'tracker')
    world_frame: str = setting('Root of the tree; empty when somebody else places the tracker.', 'world')
    stale_after: float = setting(
        'Silence of the source after which it is called stalled and its tools lost.',
        1.0,
        unit='s',
        minimum=0.05,
        maximum=60.0,
    )
    mount: MountConfig = group(MountConfig)
    tracking: TrackingConfig = group(TrackingConfig)
    offset_file: str = setting(
        'Offset of this source against another: a result of `twin calibrate time`, or of calibration_node; it is added '
        'to all stamps.',
        '',
    )
    distortion: DistortionConfig = group(DistortionConfig)
    openigtlink: OpenIGTLinkSourceConfig = group(OpenIGTLinkSourceConfig)
    crtk: CrtkConfig = group(CrtkConfig)
    recording: RecordingConfig = group(RecordingConfig)
    video: VideoConfig = group(VideoConfig)
    camera: CameraConfig = group(CameraConfig)
    visual: VisualConfig = group(VisualConfig)

    def __post_init__(self) -> None:
        """Check the relations between the settings."""
        if self.source == 'recording' and not self.recording.path:
            raise ConfigError("recording.path must be given when source is 'recording'")
        if self.source == 'crtk':
            for device in self.tracking.device_names or self.tracking.tools:
                if not ROS_NAME.fullmatch(device):
                    raise ConfigError(f'tracking.device_names: {device!r} cannot be part of a topic name')
        synchronises = self.tracking.clock.mode == 'synchronise'
        if self.source in ('recording', 'simulator') and self.recording.rate != 1.0 and synchronises:
            raise ConfigError(
                f"recording.rate={self.recording.rate} needs tracking.clock.mode='device': the stamps are as recorded, "
                'so a clock cannot be tied to them at another speed'
            )
        for tool in self.distortion.tools:
            if tool not in self.tracking.tools:
                raise ConfigError(
                    f'distortion.tools: {tool!r} is no tool of tracking.tools{nearest(tool, self.tracking.tools)}'
                )
        self._check_images(synchronises)
        if self.tracker_frame in self.tracking.tools:
            raise ConfigError(f'tracker_frame={self.tracker_frame!r} is also a tool: frames need names of their own')
        if self.world_frame in (self.tracker_frame, *self.tracking.tools):
            raise ConfigError(f'world_frame={self.world_frame!r} is also another frame: frames need names of their own')

    def _check_images(self, synchronises: bool) -> None:
        if self.source == 'video':
            for key, value in (('video.path', self.video.path), ('camera.file', self.camera.file)):
                if not value:
                    raise ConfigError(f"{key} must be given when source is 'video'")
            if self.video.rate != 1.0 and synchronises:
                raise ConfigError(f"video.rate={self.video.rate} needs tracking.clock.mode='device': stamps as filmed")
        if self.source in ('video', 'camera') and not self.camera.bodies and not self.visual.tag_size:
            raise ConfigError(
                'camera.bodies or visual.tag_size must be given: files of bodies, or the size of tags that stand alone'
            )


def read_corrections(config: DistortionConfig) -> dict[str, PoseCorrection]:
    """Read the corrections by tool; a file that several tools share is read once.

    Raises:
        ConfigError: A file is no usable distortion field.
    """
    if not config.tools:
        return {}
    from twin_nodes.io.distortion_fields import read_distortion

    fields = {file: read_distortion(file, usable=True).field for file in set(config.files)}
    return {tool: fields[file] for tool, file in zip(config.tools, config.files, strict=True)}


def read_shift(file: str) -> tuple[int, float]:
    """Read the offset [ns] of the source's clock and its sigma [s]; 0 without a file.

    Raises:
        ConfigError: The file holds no usable offset.
    """
    if not file:
        return 0, 0.0
    from twin_nodes.io.time_offsets import read_offset

    stored = read_offset(file)
    if stored.verdict == 'refuse':
        raise ConfigError(f'{file}: its verdict is refuse ({"; ".join(stored.reasons)}): measure it again')
    return stored.offset_ns, stored.sigma_s
