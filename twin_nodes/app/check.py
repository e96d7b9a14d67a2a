"""`twin check FILE`: what a file is, and whether it can be used."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from twin_nodes.app.check_anatomy import (
    TETS,
    holds_vtk_tets,
    inspect_case,
    inspect_recipe,
    inspect_tets,
    is_case,
    is_recipe,
)
from twin_nodes.app.check_images import VOLUMES, holds_dicom, inspect_dicom, inspect_volume, refused_as_both
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError, InputError

MESHES = ('.ply', '.stl', '.obj', '.off', '.vtk', '.vtp')
RECORDINGS = ('.igs.mha', '.igs.mhd', '.mha', '.igs.nrrd', '.csv', '.tsv')
VIDEOS = ('.avi', '.mp4', '.mkv', '.mov', '.m4v', '.mpg', '.mpeg', '.webm')
IMAGES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.pgm')
POSE_TABLES = ('.zip', '.tum')
ROBOTS = ('.urdf', '.xacro')
MAX_YAML_BYTES = 16_000_000
OF_ROS = ('use_sim_time', 'start_type_description_service', 'qos_overrides')
RESULT_KEYS = {'format', 'kind', 'parent_frame', 'child_frame'}


def check(file: Path, arguments: Sequence[str] = ()) -> int:
    """Print one line with the verdict on a file.

    Args:
        file: Any file or folder.
        arguments: Of a xacro file, `name:=value` each.

    Raises:
        TwinError: when it cannot be used: file, line, what, the limit, the mend.
    """
    file = Path(file)
    if not file.exists():
        near = nearest(file.name, [path.name for path in file.parent.iterdir()] if file.parent.is_dir() else [])
        raise InputError(f'{file} does not exist{near}')
    from twin_nodes.io.xacro_files import arguments_of

    print(f'{file}: {inspect(file, arguments_of(list(arguments)))}')
    return 0


def inspect(file: Path, arguments: Mapping[str, str] | None = None) -> str:
    """Say what a file is; arguments are for a xacro file.

    Raises:
        TwinError: when it cannot be used.
    """
    name = file.name.lower()
    inspectors: list[tuple[tuple[str, ...], Callable[[Path], str]]] = [
        (('.yaml', '.yml'), _yaml),
        (('.launch.xml', '.launch'), _launch),
        (RECORDINGS, _recording),
        (POSE_TABLES, _pose_table),
        (('.mcap',), _bag),
        (('.dcm',), inspect_dicom),
        (MESHES, _mesh),
        (VOLUMES, inspect_volume),
        (TETS, inspect_tets),
        (ROBOTS, partial(_robot, arguments=arguments)),
        (('.xml',), _xml),
        (VIDEOS, _video),
        (IMAGES, _video),
    ]
    if arguments and not name.endswith(ROBOTS):
        raise ConfigError(f'{file}: only a xacro file takes arguments, {next(iter(arguments))!r} is for none')
    if file.is_dir() and is_case(file):
        return inspect_case(file)
    if file.is_dir():
        if any(path.suffix.lower() in IMAGES for path in file.iterdir()):
            return _video(file)
        if any(file.glob('*.mcap')) or (file / 'metadata.yaml').is_file():
            return _bag(file)
        return inspect_dicom(file) if holds_dicom(file) else _recording(file)
    for endings, look in inspectors:
        if name.endswith(endings):
            return look(file)
    from twin_nodes.io.dicom_files import is_dicom

    if is_dicom(file):
        return inspect_dicom(file)
    known = sorted({ending for endings, _ in inspectors for ending in endings})
    raise InputError(f'{file}: files of this kind are not known; known are {", ".join(known)}, bags and folders')


def _launch(file: Path) -> str:
    import os

    from twin_nodes.app.launch.arguments import declared_arguments
    from twin_nodes.app.launch.evaluate import plan_launch

    arguments = declared_arguments(file, os.environ)
    needed = [argument.name for argument in arguments if argument.default is None]
    if needed:
        return f'launch file, well-formed; needs {", ".join(needed)}; {len(arguments)} arguments'
    plan = plan_launch(file, {}, os.environ)
    labels = ', '.join(process.label.rsplit('-', 1)[0] for process in plan.processes)
    return f'launch file, good: {len(arguments)} arguments, {len(plan.processes)} processes by default ({labels})'


def _robot(file: Path, arguments: Mapping[str, str] | None = None) -> str:
    from twin_nodes.io.urdf import read_robot

    model = read_robot(file, arguments)
    joints = model.chain(model.root, model.leaf())
    return (
        f'robot {model.name!r}, good: {len(model.links)} links, {len(model.moving)} moving joints; from {model.root!r} '
        f'to {model.leaf()!r} by {", ".join(joint.name for joint in joints)}'
    )


def _xml(file: Path) -> str:
    from twin_nodes.app.launch.element import read_launch_file

    head = file.read_text(encoding='utf-8', errors='replace')[:20_000]
    if '<PlusConfiguration' in head:
        return 'PLUS configuration; give it with --plus-config beside its recording'
    read_launch_file(file)
    return _launch(file)


def _recording(file: Path) -> str:
    from twin_nodes.io.recordings import open_recording

    try:
        recording = open_recording(file)
    except InputError as refusal:
        if file.name.lower().endswith(('.mha', '.mhd', '.nrrd')):
            return refused_as_both(refusal, file)
        try:
            return _marker(file)
        except InputError:
            raise refusal from None
    if recording.kind == 'pose_table':
        return _pose_table(file)
    notes = f'; {"; ".join(recording.notes)}' if recording.notes else ''
    verdict = 'good' if recording.devices else 'with a warning'
    devices = f'devices {", ".join(recording.devices)}' if recording.devices else 'no device was tracked in it'
    return (
        f'recording ({recording.kind}), {verdict}: {len(recording.frames)} frames over {recording.duration_s:.1f} s, '
        f'{devices}{notes}'
    )


def _marker(file: Path) -> str:
    import numpy as np

    from twin_nodes.io.recordings.marker_csv import read_marker_csv

    with file.open('rb') as stream:
        if b'qx' in stream.readline(1 << 16).lower():
            raise InputError(f'{file}: a table of poses, no trace of a marker')
    trace = read_marker_csv(file)
    seconds = float(trace.stamps_ns[-1] - trace.stamps_ns[0]) * 1e-9
    notes = f'; {"; ".join(trace.notes)}' if trace.notes else ''
    spans = ' × '.join(f'{1e3 * span:.1f}' for span in np.ptp(trace.positions, axis=0))
    return f'trace of one marker, good: {len(trace.stamps_ns)} samples over {seconds:.1f} s, moves {spans} mm{notes}'


def _video(file: Path) -> str:
    from twin_nodes.app.track import describe_video

    return describe_video(file)


def _bodies(file: Path) -> str:
    from twin_nodes.io.marker_bodies import read_marker_bodies

    bodies = read_marker_bodies(file)
    listed = ', '.join(
        f'{body.name} (ChArUco {body.board.columns}x{body.board.rows})'
        if body.board is not None
        else f'{body.name} ({len(body.tags)} tags)'
        for body in bodies
    )
    return f'marker bodies, good: {listed}'


def _pose_table(file: Path) -> str:
    """Describe a table of poses, or each of those in an archive."""
    from twin_nodes.io.recordings.pose_csv import member_names

    names = member_names(file)
    if len(names) < 2:
        return _one_pose_table(file)
    return '; '.join(f'{name}: {_of_archive(file, name)}' for name in names)


def _of_archive(file: Path, name: str) -> str:
    try:
        return _one_pose_table(file, name)
    except InputError as error:
        return f'no table of poses ({error})'


def _one_pose_table(file: Path, member: str = '') -> str:
    from twin_nodes.io.recordings.pose_csv import read_pose_csv

    table = read_pose_csv(file, member=member)
    stream = table.stream
    notes = f'; {"; ".join(table.notes)}' if table.notes else ''
    return (
        f'table of poses, good: {table.name}, {len(stream.stamps_ns)} poses over {stream.duration:.1f} s at '
        f'{1.0 / stream.period:.0f} Hz, {stream.merged} stamps repeated, {stream.reordered} out of order{notes}'
    )


def _bag(file: Path) -> str:
    from twin_nodes.io.bags.reader import BagReader

    with BagReader(file) as reader:
        loss = reader.loss
        span_s = (reader.end_ns - reader.start_ns) * 1e-9 if reader.message_count else 0.0
        text = f'{reader.message_count} messages on {len(reader.topics)} topics over {span_s:.3f} s'
        if reader.message_count == 0:
            raise InputError(f'{file}: the bag holds no message that can be read')
    if loss:
        lost = ', '.join(f'{name} {value}' for name, value in vars(loss).items() if value)
        raise InputError(f'{file}: bag with {text}, but damaged ({lost}); type `twin recover {file}`')
    return f'bag, good: {text}'


def _mesh(file: Path) -> str:
    """Read a surface in millimetres, and in metres where that gives no anatomy's size; tetrahedra in VTK as such."""
    from twin_nodes.io.meshes import read_surface

    refused = ''
    if file.suffix.lower() == '.vtk' and holds_vtk_tets(file):
        try:
            return inspect_tets(file)
        except InputError as refusal:
            refused = f'; as tetrahedra it is refused: {refusal}'

    try:
        unit, surface = 'mm', read_surface(file, unit='mm')
    except InputError as refusal:
        try:
            unit, surface = 'm', read_surface(file, unit='m')
        except InputError:
            raise refusal from None
    extent = (surface.bounds[1] - surface.bounds[0]) * 1e3
    size = ' × '.join(f'{length:.1f}' for length in extent)
    closed = 'closed' if surface.is_watertight else 'not closed: no signed distance can be computed'
    verdict = 'good' if surface.is_watertight else 'with a warning'
    counts = f'{len(surface.vertices)} vertices, {len(surface.triangles)} triangles'
    return f'surface, {verdict}: {counts}, {size} mm when read in {unit}, {closed}{refused}'


def _yaml(file: Path) -> str:
    if file.stat().st_size > MAX_YAML_BYTES:
        raise InputError(f'{file}: {file.stat().st_size} bytes is above the limit of {MAX_YAML_BYTES} bytes')
    text = file.read_text(encoding='utf-8', errors='replace')
    if text.startswith('%YAML:') or 'camera_matrix:' in text:
        return _camera(file)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        where = f':{mark.line + 1}' if mark is not None else ''
        raise ConfigError(f'{file}{where}: not YAML: {getattr(error, "problem", error)}') from None
    if not isinstance(content, dict) or not isinstance(root, yaml.MappingNode):
        raise ConfigError(f'{file}: holds no map of keys')
    if any(isinstance(section, dict) and 'ros__parameters' in section for section in content.values()):
        return _parameters(file, content, _lines(root))
    if 'rosbag2_bagfile_information' in content:
        return _bag(file.parent)
    if content.get('kind') == 'time_offset':
        return _offset(file)
    if is_recipe(content):
        return inspect_recipe(file)
    if content.get('kind') == 'distortion':
        return _distortion(file)
    if 'bodies' in content and 'unit' in content:
        return _bodies(file)
    return _result(file, content)


def _camera(file: Path) -> str:
    from twin_nodes.io.camera_info import read_camera_info

    camera = read_camera_info(file)
    base = f', baseline {camera.baseline * 1e3:.2f} mm' if camera.baseline else ''
    return (
        f'camera {camera.name}, good: {camera.width}x{camera.height} px, {camera.model}, focal length '
        f'{camera.focal[0]:.1f} {camera.focal[1]:.1f} px{base}'
    )


def _distortion(file: Path) -> str:
    from twin_nodes.io.distortion_fields import read_distortion

    stored = read_distortion(file)
    return (
        f'distortion field, {stored.verdict}: {stored.field.basis.name}, '
        f'{stored.errors.get("raw_m", 0.0) * 1e3:.2f} mm before, {stored.errors.get("held_out_m", 0.0) * 1e3:.2f} mm '
        f'after (held out), {stored.date}'
    )


def _offset(file: Path) -> str:
    from twin_nodes.io.time_offsets import read_offset

    offset = read_offset(file)
    return (
        f'time offset, {offset.verdict}: {offset.offset_ns * 1e-6:.3f} ms ± {offset.sigma_s * 1e3:.3f}, added to the '
        f'stamps of {offset.second} for the clock of {offset.first}, {offset.date}'
    )


def _lines(node: yaml.Node, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    """Map each key path to its line, from 1; dotted keys are split."""
    found: dict[tuple[str, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, *str(key.value).split('.')) if path else (str(key.value),)
            found[inner] = key.start_mark.line + 1
            found.update(_lines(value, inner))
    return found


def _parameters(file: Path, content: dict[str, Any], lines: dict[tuple[str, ...], int]) -> str:
    """Check each section of a parameter file against the config class of its node."""
    checked = []
    for section, body in content.items():
        line = lines.get((section,), 1)
        if not isinstance(body, dict) or set(body) != {'ros__parameters'}:
            raise ConfigError(f'{file}:{line}: section {section!r} must hold ros__parameters and nothing else')
        values = body['ros__parameters']
        if not isinstance(values, dict):
            raise ConfigError(f'{file}:{line}: ros__parameters of {section!r} must be a map of keys')
        node = _node_of(file, section)
        if node is None:
            checked.append(f'{section} (not a node of ours, keys not checked)')
            continue
        _build(file, section, node, values, lines)
        checked.append(f'{section} → {node}')
    return f'parameters, good: {", ".join(checked)}'


def _node_of(file: Path, section: str) -> str | None:
    """Guess the node of a section: by its name, else by the file's name."""
    from twin_nodes.ros.registry import CONFIGS

    name = section.strip('/').rsplit('/', 1)[-1]
    for candidate in (name, f'{name}_node', file.stem, f'{file.stem}_node', f'{file.stem.split("_")[0]}_node'):
        if candidate in CONFIGS:
            return candidate
    return None


def _build(file: Path, section: str, node: str, values: dict[str, Any], lines: dict[tuple[str, ...], int]) -> None:
    from twin_nodes.core.config import build_config
    from twin_nodes.ros.registry import config_type

    given = {key: value for key, value in values.items() if key.split('.')[0] not in OF_ROS}
    for path, line in lines.items():
        value: Any = given
        for part in path[2:]:
            value = value.get(part) if isinstance(value, dict) else None
        if path[:2] == (section, 'ros__parameters') and value is None and len(path) > 2 and _is_null(given, path[2:]):
            raise ConfigError(f'{file}:{line}: {".".join(path[2:])} has no value')
    try:
        build_config(config_type(node), given)
    except ConfigError as error:
        raise ConfigError(f'{file}{_line_of(str(error), section, lines)}: {node}: {error}', code=error.code) from None


def _is_null(values: dict[str, Any], path: tuple[str, ...]) -> bool:
    dotted = '.'.join(path)
    if dotted in values:
        return values[dotted] is None
    inner: Any = values
    for part in path:
        if not isinstance(inner, dict) or part not in inner:
            return False
        inner = inner[part]
    return inner is None


def _line_of(message: str, section: str, lines: dict[tuple[str, ...], int]) -> str:
    """Find the line of the key that a message names; the longest key that occurs in it wins."""
    best: tuple[int, int] | None = None
    for path, line in lines.items():
        key = '.'.join(path[2:])
        named = (
            path[:2] == (section, 'ros__parameters')
            and key
            and re.search(rf"(^|[\s'])({re.escape(key)})([\s'=]|$)", message)
        )
        if named and (best is None or len(key) > best[0]):
            best = (len(key), line)
    return f':{best[1]}' if best else f':{lines.get((section,), 1)}'


def _result(file: Path, content: dict[str, Any]) -> str:
    """Recognise a calibration or registration result, or a list of landmarks."""
    if 'landmarks' in content:
        from twin_nodes.io.landmarks import read_landmarks

        names, _ = read_landmarks(file)
        return f'landmarks, good: {", ".join(names)}'
    if not set(content) >= RESULT_KEYS:
        keys = ', '.join(str(key) for key in list(content)[:8])
        raise InputError(f'{file}: neither parameters (ros__parameters), landmarks nor a result; it holds {keys}')
    from twin_nodes.io.results import read_result

    result = read_result(file)
    tool = f' of {result.tool}' if result.tool else ''
    return (
        f'result ({result.kind}{tool}), {result.verdict}: {result.parent_frame} → {result.child_frame}, {result.date}'
    )
