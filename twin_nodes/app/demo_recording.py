"""The demo of a real recording: served over TCP, taken in by the real nodes, held against what was published of it."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.app.demo_end import conclude
from twin_nodes.app.demo_session import DemoSession, free_port, new_folder, view_port
from twin_nodes.app.figures import Figure, judge
from twin_nodes.app.igtl import rising_frames
from twin_nodes.app.launch.environment import child_environment
from twin_nodes.app.observer import Observations, positions
from twin_nodes.app.scenes import files_of
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array, angle_between, transform_points
from twin_nodes.core.simulate.shapes import superellipsoid, tube
from twin_nodes.core.tracking.filter import PoseFilterConfig
from twin_nodes.io.openigtlink.outgoing import wire_names
from twin_nodes.io.recordings import Recording, open_recording
from twin_nodes.io.recordings.plus_config import PlusConfig, read_plus_config
from twin_nodes.io.recordings.plus_neighbours import find_plus_config, find_truth

GRACE_S = 1.5
SETTLE_S = 3.0  # Fast DDS may lose what is sent in the first two seconds after a match
SAME_POSE = 2e-6
LANDMARK_RADIUS = 0.002
WIRE_RADIUS = 0.0005


@dataclass(frozen=True)
class RecordingScene:
    """A recording with what is known of it.

    Args:
        recording: The frames.
        plus: Its PLUS configuration, or None.
        truth: Published reference_T_phantom (4, 4), or None.
        tools: Tool name by device.
    """

    recording: Recording
    plus: PlusConfig | None
    truth: Array | None
    tools: dict[str, str]

    @property
    def registers(self) -> bool:
        """Whether stylus, tip, reference and landmarks are known, so that a registration can be expected."""
        plus = self.plus
        return (
            plus is not None
            and len(plus.landmark_names) >= 3
            and plus.find(plus.tip_frame, plus.stylus_frame) is not None
            and {plus.stylus_device, plus.reference_device} <= set(self.tools)
        )


def tool_name(device: str) -> str:
    """Return a ROS name for a device: StylusToTracker becomes stylus."""
    stem = re.sub(r'To(Tracker|Reference|[A-Z]\w*)$', '', device) or device
    name = re.sub(r'[^a-z0-9_]+', '_', re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', stem).lower()).strip('_')
    return name if name[:1].isalpha() else f'tool_{name}'


def open_scene(recording_path: Path, plus_config: Path | None, truth: Path | None) -> RecordingScene:
    """Open a recording and find its configuration and truth beside it unless they are given.

    Raises:
        ConfigError: for a given file that is not what it should be.
        InputError: for a file that is no recording.
    """
    recording = open_recording(recording_path)
    if not recording.devices:
        raise InputError(f'{recording_path}: no device was tracked in its {len(recording.frames)} frames')
    path = plus_config or find_plus_config(recording_path)
    plus = read_plus_config(path) if path is not None else None
    if truth is not None:
        published = read_plus_config(truth)
        phantom, reference = (plus.phantom_frame, plus.reference_frame) if plus else ('Phantom', 'Reference')
        transform = published.find(phantom, reference)
        if transform is None:
            raise ConfigError(f'{truth}: no transform From="{phantom}" To="{reference}"')
    else:
        transform = find_truth(recording_path, plus)
    tools: dict[str, str] = {}
    for device in recording.devices:
        name = tool_name(device)
        tools[device] = name if name not in tools.values() else f'{name}_{len(tools)}'
    return RecordingScene(recording, plus, None if transform is None else transform.to_T_from, tools)


def scene_configs(scene: RecordingScene, folder: Path, rate: float) -> dict[str, dict[str, Any]]:
    """Return the values of each node's YAML and write the surfaces that they name."""
    devices = list(scene.tools)
    tracker = {
        'source': 'openigtlink',
        'tracking.tools': [scene.tools[device] for device in devices],
        'tracking.device_names': list(wire_names(devices).values()),
        'tracking.clock.latency': 0.0,
        'openigtlink.stream': 'push',  # version 2 transforms say why a tool is lost; TDATA only leaves it out
    }
    limits = PoseFilterConfig()  # time runs faster, so what the hand can do does too
    tracker |= {
        'tracking.filter.max_speed': limits.max_speed * rate,
        'tracking.filter.max_acceleration': limits.max_acceleration * rate**2,
        'tracking.filter.max_angular_rate': limits.max_angular_rate * rate,
        'tracking.filter.max_angular_acceleration': limits.max_angular_acceleration * rate**2,
    }
    if not scene.registers or scene.plus is None:
        return {'tracker': tracker, 'view': {'tools': list(scene.tools.values())}}
    plus = scene.plus
    stylus, reference = scene.tools[plus.stylus_device], scene.tools[plus.reference_device]
    anatomy = plus.phantom_frame.lower()
    surfaces = _write_surfaces(plus, folder)
    common = {'tool': stylus, 'patient': reference}
    return {
        'tracker': tracker,
        'calibration': {'tool': stylus, 'tip_file': str(plus.path.resolve())},
        'registration': {
            **common,
            'anatomy_frame': anatomy,
            'landmarks_file': str(plus.path.resolve()),
            'session.dwell.entry_s': 0.4 / rate,
            'session.dwell.exit_s': 0.15 / rate,
            'session.dwell.min_duration_s': 1.5 / rate,
        },
        'anatomy': {'structures': list(surfaces), 'files': list(surfaces.values()), 'anatomy_frame': anatomy},
        'guidance': {**common, 'anatomy_frame': anatomy, 'grid_spacing': 0.0005, 'grid_margin': 0.02},
        'view': {'tools': [stylus], 'patient_frame': reference, 'anatomy_frame': anatomy},
    }


def _write_surfaces(plus: PlusConfig, folder: Path) -> dict[str, str]:
    """Write the phantom's landmarks as small balls and its wires as thin tubes; return the files by name."""
    from twin_nodes.core.anatomy.surface import make_surface
    from twin_nodes.io.meshes import write_surface

    balls = [superellipsoid(p, np.full(3, LANDMARK_RADIUS), exponent=1.0, rings=8) for p in plus.landmarks_phantom]
    wires = [tube(np.linspace(front, back, 9), WIRE_RADIUS, sides=8) for front, back in plus.wires_phantom]
    files = {}
    for name, meshes in (('landmarks', balls), ('wires', wires)):
        if not meshes:
            continue
        offsets = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
        vertices = np.vstack([vertices for vertices, _ in meshes])
        triangles = np.vstack([mesh[1] + offset for mesh, offset in zip(meshes, offsets, strict=False)])
        path = folder / f'{name}.ply'
        write_surface(path, make_surface(name, vertices, triangles.astype(np.int32)))
        files[name] = str(path.resolve())
    return files


def run_recording(
    recording: Path,
    *,
    plus_config: Path | None,
    truth: Path | None,
    rate: float,
    headless: bool,
    seconds: float | None,
    json: bool,
    port: int,
    bag: bool,
    out: Path | None,
) -> int:
    """Serve the recording, run the nodes on it, print what was measured; returns 0 when every promise held."""
    scene = open_scene(recording, plus_config, truth)
    port = 0 if headless else view_port(port)
    url = '' if headless else f'http://127.0.0.1:{port}'
    folder = new_folder(out, 'recording')
    igtl_port = free_port()
    configs = files_of(scene_configs(scene, folder, rate))
    launch_file = 'twin.launch.xml' if scene.registers else 'tracker.launch.xml'
    arguments = {'igtl_port': str(igtl_port), 'view': str(not headless).lower(), 'view_port': str(port or 8080)}
    tools = tuple(scene.tools.values())
    tool = tools[0]
    if scene.registers and scene.plus is not None:
        tool = scene.tools[scene.plus.stylus_device]
    session = DemoSession(
        folder, launch_file, arguments, configs, tools=tools, tool=tool, bag=bag, view_url=url, quiet=json
    )
    with session:
        listeners = (2 if scene.registers else 0) + int(bag) + int(not headless)  # registration, guidance
        session.spin_until(lambda: session.listened_to(tools, listeners), seconds=15.0)
        session.spin_until(lambda: False, seconds=SETTLE_S)
        server = _start_server(recording, igtl_port, rate, folder)
        ended_at: list[float] = []

        def finished() -> bool:
            if server.poll() is not None and not ended_at:
                ended_at.append(time.monotonic())
            return bool(ended_at) and time.monotonic() - ended_at[0] > GRACE_S

        session.spin_until(finished, seconds=seconds)
        failures = session.failures()
        if server.poll() is None:
            server.terminate()
            server.wait()
        elif server.returncode:
            failures.append(f'the server ended with {server.returncode}: {(folder / "server.txt").read_text()[-400:]}')

    def score() -> list[Figure]:
        figures = score_recording(session.seen, scene, rate=rate, whole=bool(ended_at))
        _say_lost(session.seen, tools)
        return figures

    return conclude(folder, failures, score, as_json=json)


def _start_server(recording: Path, port: int, rate: float, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, '-m', 'twin_nodes', 'igtl', 'serve', str(recording), '--port', str(port)]
    command += ['--rate', str(rate), '--version', '2']
    with (folder / 'server.txt').open('wb') as log:
        return subprocess.Popen(command, env=child_environment(os.environ), stdout=log, stderr=log)


def _say_lost(seen: Observations, tools: tuple[str, ...]) -> None:
    for tool in tools:
        said = [change for change in seen.changes if change.name == f'tracker: tool {tool}' and change.code != 'OK']
        if not seen.measured[tool] and said:
            print(f'{tool}: no pose published: {said[-1].code}: {said[-1].message}', file=sys.stderr)


def score_recording(seen: Observations, scene: RecordingScene, *, rate: float, whole: bool) -> list[Figure]:
    """Hold what was published against the recording and against its published result.

    Args:
        seen: What was heard.
        scene: The recording.
        rate: Speed at which it was served.
        whole: Whether it was served to its end; only then is everything in it expected.
    """
    published = sum(len(seen.measured[tool]) for tool in scene.tools.values())
    lost = sum(_lost_poses(seen, scene, device) for device in scene.tools)
    figures: list[Figure] = []
    if scene.registers:
        figures += _registration(seen, scene, whole=whole)
    figures += [
        judge('lost_poses_published', float(lost), '', at_most=0.0),
        judge('poses_published', float(published), ''),
    ]
    if whole:
        figures.append(judge('samples_dropped', float(_expected(scene) - published), '', at_most=0.0))
    tracked = [tool for tool in scene.tools.values() if seen.measured[tool]]
    if tracked:
        check = seen.check(f'tracker: tool {tracked[0]}')
        if check is not None:
            figures.append(judge('rate_hz', float(check.values.get('rate_hz', 'nan')) / rate, 'Hz'))
            figures.append(judge('jitter_ms', float(check.values.get('jitter_ms', 'nan')) * rate, 'ms'))
    return figures


def _registration(seen: Observations, scene: RecordingScene, *, whole: bool) -> list[Figure]:
    assert scene.plus is not None
    state = seen.check('registration: state')
    values = state.values if state else {}
    found = float(values.get('landmarks_found', 0))
    wanted = float(len(scene.plus.landmark_names)) if whole else None
    fre = float(values['fre_mm']) if 'fre_mm' in values else None
    figures = [
        judge('landmarks_found', found, '', at_least=wanted),
        judge('fre_mm', fre, 'mm', at_most=0.30 if whole else None),
    ]
    if scene.truth is None:
        return figures
    angle = distance = None
    if seen.registration is not None:
        angle = float(np.degrees(angle_between(seen.registration.pose, scene.truth)))
        landmarks = scene.plus.landmarks_phantom
        apart = transform_points(seen.registration.pose, landmarks) - transform_points(scene.truth, landmarks)
        distance = float(np.sqrt((apart**2).sum(axis=1).mean())) * 1e3
    limit = {'at_most': 0.1} if whole else {}
    figures.append(judge('pose_error_deg', angle, '°', **limit))
    limit = {'at_most': 0.2} if whole else {}
    figures.append(judge('pose_error_mm', distance, 'mm', **limit))
    return figures


def _expected(scene: RecordingScene) -> int:
    frames, _ = rising_frames(scene.recording, 1.0)
    return sum(pose is not None for _, poses in frames for pose in poses.values())


def _lost_poses(seen: Observations, scene: RecordingScene, device: str) -> int:
    """Count the published poses of a tool that no frame holds in which it was seen."""
    from scipy.spatial import cKDTree

    published = positions(seen.measured[scene.tools[device]])
    _, poses = scene.recording.tracked(device)
    if not len(published):
        return 0
    if not len(poses):
        return len(published)
    nearest, _ = cKDTree(poses[:, :3, 3]).query(published)
    return int((nearest > SAME_POSE).sum())
