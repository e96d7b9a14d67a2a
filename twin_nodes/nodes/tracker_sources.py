"""The sources that tracker_node can take in, made from its settings."""

from pathlib import Path

from rclpy.node import Node

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.reading import TrackerSource
from twin_nodes.io.openigtlink.client import OpenIGTLinkSource
from twin_nodes.nodes.tracker_config import TrackerNodeConfig
from twin_nodes.ros.clock import clock_ns
from twin_nodes.ros.crtk_source import CrtkSource
from twin_nodes.ros.progress import is_replay


def source_name(config: TrackerNodeConfig) -> str:
    """Return what the readings come from, for the diagnostics."""
    if config.source == 'openigtlink':
        return f'openigtlink://{config.openigtlink.host}:{config.openigtlink.port}'
    if config.source == 'video':
        return Path(config.video.path).name
    if config.source == 'camera':
        return config.camera.topic
    if config.source == 'recording':
        return Path(config.recording.path).name
    return config.source


def make_source(node: Node, config: TrackerNodeConfig) -> TrackerSource:
    """Make the source that `config.source` names.

    Raises:
        TwinError: A file of the source cannot be used.
    """
    if config.source == 'openigtlink':
        return OpenIGTLinkSource(config.openigtlink, now_ns=lambda: clock_ns(node))
    if config.source == 'crtk':
        devices = config.tracking.device_names or config.tracking.tools
        return CrtkSource(node, devices, prefix=config.crtk.prefix, frame=config.crtk.frame, replay=is_replay(node))
    if config.source == 'video':
        return _make_video(node, config)
    if config.source == 'camera':
        return _make_camera(node, config)
    from twin_nodes.io.recordings import RecordingSource, open_recording
    from twin_nodes.io.recordings.simulated import simulated_recording

    simulated = config.source == 'simulator'
    recording = simulated_recording() if simulated else open_recording(Path(config.recording.path))
    settings = config.recording
    return RecordingSource(recording, rate=settings.rate, loop=settings.loop, now_ns=lambda: clock_ns(node))


def _make_video(node: Node, config: TrackerNodeConfig) -> TrackerSource:
    from twin_nodes.core.tracking.visual.tracker import VisualTracker  # loads OpenCV, a tenth of a second
    from twin_nodes.io.camera_info import read_camera_info
    from twin_nodes.io.marker_bodies import read_bodies
    from twin_nodes.io.video.frames import Video
    from twin_nodes.io.video.source import VideoSource

    film = config.video
    start_ns = round(film.start * NANOSECONDS) if film.start >= 0.0 else None
    video = Video(film.path, rate_hz=film.rate_hz, start_ns=start_ns)
    camera = read_camera_info(config.camera.file, size=video.size)
    tracker = VisualTracker(config.visual, camera, read_bodies(config.camera.bodies))
    return VideoSource(video, tracker, rate=film.rate, loop=film.loop, now_ns=lambda: clock_ns(node))


def _make_camera(node: Node, config: TrackerNodeConfig) -> TrackerSource:
    from twin_nodes.core.tracking.visual.tracker import VisualTracker
    from twin_nodes.io.camera_info import read_camera_info
    from twin_nodes.io.marker_bodies import read_bodies
    from twin_nodes.io.video.source import observe, readings_of
    from twin_nodes.ros.image_source import ImageSource

    settings = config.camera
    bodies = read_bodies(settings.bodies)
    return ImageSource(
        node,
        settings.topic,
        compressed=settings.compressed,
        info_topic=settings.info_topic,
        camera=read_camera_info(settings.file) if settings.file else None,
        make_tracker=lambda camera: VisualTracker(config.visual, camera, bodies),
        look=observe,
        readings=readings_of,
        replay=is_replay(node),
    )
