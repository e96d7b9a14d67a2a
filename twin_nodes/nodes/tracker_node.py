"""tracker_node: takes in a tracker and publishes clean, time-stamped poses.

source → status → finite → rotation → unit and workspace → stamp → gate → filter → `<tool>/measured_cp`,
`<tool>/filtered_cp` and tf. A tool that the source does not see is said to be lost in that very frame.
"""

import re
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster
from tf_transformations import euler_matrix

from twin_nodes.core.codes import CODES
from twin_nodes.core.config import group, nearest, setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.pipeline import (
    PoseCorrection,
    ToolLost,
    ToolState,
    TrackedPose,
    TrackingConfig,
    TrackingPipeline,
)
from twin_nodes.core.tracking.reading import SourceEvent, TrackerFrame, TrackerSource
from twin_nodes.core.tracking.visual.config import VisualConfig
from twin_nodes.io.openigtlink.client import OpenIGTLinkSource, OpenIGTLinkSourceConfig
from twin_nodes.ros.conversions import transform_stamped
from twin_nodes.ros.crtk_source import CrtkSource
from twin_nodes.ros.health import ERROR, OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.pose_output import PoseOutput
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import REPLAY_MEASUREMENT
from twin_nodes.ros.run import run_node

STATES = ('OK', 'SOURCE_FINISHED', 'SOURCE_DISCONNECTED', 'SOURCE_STALLED', 'DEVICE_STATUS', 'CALLBACK_FAILED')
SWITCH_S = 0.0005  # the source's thread must not wait 5 ms for a report that is being written
WATCH_S = 0.1
GONE = ('SOURCE_FINISHED', 'SOURCE_DISCONNECTED', 'SOURCE_STALLED', 'CALLBACK_FAILED')
ROS_NAME = re.compile(r'[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)
ODD = ('STUCK', 'UNIT_SUSPECT')  # of a tool that is tracked all the same
SOURCES = ('openigtlink', 'crtk', 'recording', 'simulator', 'video', 'camera')


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


class TrackerNode(Node):
    """Connects one source to one tracking pipeline."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('tracker', **kwargs)
        self.config = declare_config(self, TrackerNodeConfig)
        self.health = Health(self, hardware_id=self._hardware_id())
        self._lock = threading.Lock()  # the source delivers from a thread of its own
        replay = is_replay(self)
        self._outputs = {
            tool: PoseOutput(self, tool, self.config.tracker_frame, replay=replay)
            for tool in self.config.tracking.tools
        }
        self._tf = TransformBroadcaster(self, qos=REPLAY_MEASUREMENT if replay else None)
        self._fixed_tf = StaticTransformBroadcaster(self)
        if self.config.world_frame:
            self._fixed_tf.sendTransform(self._mount())
        # after the publishers: their discovery goes on while the kernels load, a third of a second
        shift_ns, sigma = read_shift(self.config.offset_file)
        self._pipeline = TrackingPipeline(
            self.config.tracking, read_corrections(self.config.distortion), shift_ns, sigma
        )
        self._said: dict[str, str] = {}
        self._source_state = SourceEvent('SOURCE_DISCONNECTED', 'not connected yet')
        for tool in self.config.tracking.tools:
            self._say(tool, 'TOOL_NEVER_SEEN', 'no reading yet')
        self._heard_s = time.monotonic()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0, self._report, clock=steady)
        # in a replay a pause is no silence
        self._watch_timer = None if replay else self.create_timer(WATCH_S, self._watch, clock=steady)
        self._jump = on_jump_back(self, self._on_clock_jump)
        self._source = self._make_source()
        self._thread = threading.Thread(target=self._run_source, name='source', daemon=True)
        self._thread.start()

    def _mount(self) -> TransformStamped:
        mount = self.config.mount
        world_T_tracker = make_transform(euler_matrix(*mount.rpy)[:3, :3], mount.xyz)
        # a setting, not a measurement: it has no time, and a replay must give the same each time
        return transform_stamped(0, self.config.world_frame, self.config.tracker_frame, world_T_tracker)

    def _hardware_id(self) -> str:
        if self.config.source == 'openigtlink':
            return f'openigtlink://{self.config.openigtlink.host}:{self.config.openigtlink.port}'
        if self.config.source == 'video':
            return Path(self.config.video.path).name
        if self.config.source == 'camera':
            return self.config.camera.topic
        if self.config.source == 'recording':
            return Path(self.config.recording.path).name
        return self.config.source

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _make_source(self) -> TrackerSource:
        config = self.config
        if config.source == 'openigtlink':
            return OpenIGTLinkSource(config.openigtlink, now_ns=self._now_ns)
        if config.source == 'crtk':
            devices = config.tracking.device_names or config.tracking.tools
            return CrtkSource(self, devices, prefix=config.crtk.prefix, frame=config.crtk.frame, replay=is_replay(self))
        if config.source in ('video', 'camera'):
            return self._make_image_source()
        from twin_nodes.io.recordings import RecordingSource, open_recording
        from twin_nodes.io.recordings.simulated import simulated_recording

        recording = (
            open_recording(Path(config.recording.path)) if config.source == 'recording' else simulated_recording()
        )
        return RecordingSource(recording, rate=config.recording.rate, loop=config.recording.loop, now_ns=self._now_ns)

    def _make_image_source(self) -> TrackerSource:
        from twin_nodes.core.tracking.visual.tracker import VisualTracker  # loads OpenCV, a tenth of a second
        from twin_nodes.io.camera_info import read_camera_info
        from twin_nodes.io.marker_bodies import read_bodies
        from twin_nodes.io.video.frames import Video
        from twin_nodes.io.video.source import VideoSource, observe, readings_of

        settings, film = self.config.camera, self.config.video
        bodies = read_bodies(settings.bodies)
        if self.config.source == 'video':
            start_ns = round(film.start * NANOSECONDS) if film.start >= 0.0 else None
            video = Video(film.path, rate_hz=film.rate_hz, start_ns=start_ns)
            tracker = VisualTracker(self.config.visual, read_camera_info(settings.file, size=video.size), bodies)
            return VideoSource(video, tracker, rate=film.rate, loop=film.loop, now_ns=self._now_ns)
        from twin_nodes.ros.image_source import ImageSource

        return ImageSource(
            self,
            settings.topic,
            compressed=settings.compressed,
            info_topic=settings.info_topic,
            camera=read_camera_info(settings.file) if settings.file else None,
            make_tracker=lambda camera: VisualTracker(self.config.visual, camera, bodies),
            look=observe,
            readings=readings_of,
            replay=is_replay(self),
        )

    def _run_source(self) -> None:
        try:
            self._source.run(self._on_frame, self._on_event)
        except Exception as error:  # a source never raises for bad data: this is a bug, said and not hidden
            if not self.context.ok():
                return
            self._on_event(SourceEvent('CALLBACK_FAILED', f'the source stopped: {error!r}'))
            self.get_logger().error(f'CALLBACK_FAILED: {error!r}')

    def _on_frame(self, frame: TrackerFrame) -> None:
        if not self.context.ok():  # the source may deliver once more while the node goes down
            self._source.stop()
            return
        self._heard_s = time.monotonic()
        if self._source_state.code == 'SOURCE_STALLED':
            self._on_event(SourceEvent('OK', 'frames come again', healthy=True))
        edges = []
        with self._lock:
            for result in self._pipeline.results(frame):
                if isinstance(result, TrackedPose):
                    output = self._outputs[result.tool]
                    edges.append(output.publish_filtered(result.stamp_ns, result.filtered, result.covariance))
                    output.publish_measured(result.stamp_ns, result.measured)
                    self._say(result.tool, 'OK', 'tracked')
                elif isinstance(result, ToolLost) or self._is_lost(result.tool):
                    self._say(result.tool, result.code, result.reason)
            if edges:
                self._tf.sendTransform(edges)

    def _is_lost(self, tool: str) -> bool:
        return self._pipeline.tools[tool].state is not ToolState.TRACKED

    def _say(self, tool: str, code: str, reason: str) -> None:
        """Say at once that a tool is seen or not, and once only; `_report` adds the figures each second."""
        if self._said.get(tool) != code:
            self._said[tool] = code
            self.health.set(f'tool {tool}', OK if code == 'OK' else WARN, code, reason, {'tool': tool})

    def _on_event(self, event: SourceEvent) -> None:
        if event.code not in STATES:
            self.health.warn(event.code, event.message)
            return
        self._source_state = event
        self._heard_s = time.monotonic()
        if event.code in GONE:
            self._lose_all(event.message)
        level = OK if event.healthy else ERROR
        self.health.set('source', level, event.code, event.message)
        if event.healthy:
            self.get_logger().info(f'{event.code}: {event.message}')
        else:
            self.get_logger().warning(f'{event.code}: {event.message}')

    def _lose_all(self, reason: str) -> None:
        with self._lock:
            for result in self._pipeline.silence(reason):
                self._say(result.tool, result.code, result.reason)

    def _watch(self) -> None:
        """Notice a source that sends nothing: then no frame can say that a tool is lost."""
        silent = time.monotonic() - self._heard_s
        if self._source_state.code in GONE or silent <= self.config.stale_after:
            return
        reason = f'no frame for {silent:.1f} s, limit stale_after={self.config.stale_after} s'
        if self._source_state.healthy:
            self._on_event(SourceEvent('SOURCE_STALLED', reason))
        else:  # what the device said of itself is worth more
            self._lose_all(reason)

    def _on_clock_jump(self) -> None:
        with self._lock:
            self._pipeline.clear()
        self.health.warn('CLOCK_JUMP', 'time jumped back: all buffers were cleared')

    def _report(self) -> None:
        with self._lock:
            tools = self._pipeline.health()
            clock = self._pipeline.clock
            clock_values = {
                'mode': clock.config.mode,
                'offset_s': f'{clock.offset_s:.6f}',
                'sigma_ms': clock.sigma_s * 1e3,
                'skew_ppm': clock.skew_ppm,
                'latency_ms': clock.config.latency * 1e3,
                'steps': clock.steps,
            }
            settled = clock.settled
            sigma = {name: self._sigma_mm(name) for name in tools}
            totals = sum((Counter(health.counts) for health in tools.values()), Counter(self._pipeline.counts))
        for name, health in tools.items():
            tracked = health.state is ToolState.TRACKED
            values = {
                'tool': name,
                'rate_hz': health.rate.rate_hz,
                'jitter_ms': health.rate.jitter_rms_s * 1e3,
                'gaps': health.rate.gaps,
                'sigma_mm': sigma[name],
                'listeners': ' '.join(map(str, self._outputs[name].listeners())),
                **health.counts,
            }
            odd = health.code in ODD
            code = health.code if odd or not tracked else 'OK'
            self._said[name] = 'OK' if tracked else code
            self.health.set(f'tool {name}', OK if code == 'OK' else WARN, code, health.reason, values)
        # the source tells of a fault at most twice a second, but counts each one
        totals |= {code: total for code, total in getattr(self._source, 'counters', {}).items() if code in CODES}
        for code, total in totals.items():
            if code != 'OK':
                self.health.set_count(code, total)
        message = f'offset {clock_values["offset_s"]} s ± {clock_values["sigma_ms"]:.2f} ms'
        code = 'OK' if settled else 'CLOCK_UNSETTLED'
        self.health.set('clock', OK if settled else WARN, code, message, clock_values)
        state = self._source_state
        self.health.set('source', OK if state.healthy else ERROR, state.code, state.message)

    def _sigma_mm(self, tool: str) -> float:
        return self._outputs[tool].sigma * 1e3

    def destroy_node(self) -> None:
        """Stop the source before the publishers go."""
        if hasattr(self, '_thread'):  # else the configuration was refused before there was anything to stop
            self._source.stop()
            self._thread.join(timeout=2.0)
            self._jump.unregister()
        super().destroy_node()


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


def main() -> None:
    """Run the node."""
    sys.setswitchinterval(SWITCH_S)
    sys.exit(run_node(TrackerNode))


if __name__ == '__main__':
    main()
