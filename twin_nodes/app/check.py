"""`twin check FILE`: what a file is, and whether it can be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from twin_nodes.app.check_anatomy import TETS, inspect_mesh, inspect_tets
from twin_nodes.app.check_folder import UnknownKindError, inspect_folder
from twin_nodes.app.check_images import VOLUMES, inspect_dicom, inspect_volume
from twin_nodes.app.check_recordings import (
    inspect_bag,
    inspect_pose_table,
    inspect_recording,
    inspect_signals,
    inspect_video,
)
from twin_nodes.app.check_texts import inspect_link, inspect_points
from twin_nodes.app.check_yaml import inspect_camera, inspect_yaml
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.bags.reader import BAG_FILES
from twin_nodes.io.meshes import READERS as MESHES
from twin_nodes.io.video.frames import IMAGES, VIDEOS

RECORDINGS = ('.igs.mha', '.igs.mhd', '.mha', '.igs.nrrd', '.csv', '.tsv', '.txt', '.dat')
SIGNALS = ('.hea', '.edf')
POSE_TABLES = ('.zip', '.tum')
STACKS = ('.npy', '.npz', '.mat', '.json', '.gz')
ROBOTS = ('.urdf', '.xacro')
POINTS = ('.xyz', '.pts', '.asc', '.fcsv')
LOGS = ('.log',)
CAMERAS = ('.ini',)


def check(file: Path, arguments: Sequence[str] = ()) -> int:
    """Print one line with the verdict on a file, or on each thing in a folder.

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
        (('.yaml', '.yml'), inspect_yaml),
        (('.launch.xml', '.launch'), _launch),
        (RECORDINGS, inspect_recording),
        (POSE_TABLES, inspect_pose_table),
        (BAG_FILES, inspect_bag),
        (SIGNALS, inspect_signals),
        (('.dcm',), inspect_dicom),
        (tuple(MESHES), inspect_mesh),
        (VOLUMES, inspect_volume),
        (TETS, inspect_tets),
        (ROBOTS, partial(_robot, arguments=arguments)),
        (('.xml',), _xml),
        (VIDEOS, inspect_video),
        (IMAGES, inspect_video),
        (STACKS, inspect_recording),
        (POINTS, inspect_points),
        (LOGS, inspect_link),
        (CAMERAS, inspect_camera),
    ]
    if arguments and not name.endswith(ROBOTS):
        raise ConfigError(f'{file}: only a xacro file takes arguments, {next(iter(arguments))!r} is for none')
    if file.is_dir():
        return inspect_folder(file, inspect)
    for endings, look in inspectors:
        if name.endswith(endings):
            return look(file)
    from twin_nodes.io.dicom_files import is_dicom

    if is_dicom(file):
        return inspect_dicom(file)
    known = sorted({ending for endings, _ in inspectors for ending in endings})
    raise UnknownKindError(f'{file}: files of this kind are not known; known are {", ".join(known)}, bags and folders')


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
