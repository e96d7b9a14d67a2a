"""Robots from URDF and xacro files; `urdf_writing` writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

import numpy as np

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.core.robot.model import MAX_JOINTS, REFUSED, Joint, RobotModel, Shape
from twin_nodes.core.robot.published import MODELS, published_model
from twin_nodes.io.xacro_files import PACKAGE, expand_xacro, is_xacro, split_arguments
from twin_nodes.io.xml_safe import parse_xml, read_bytes_bounded

KINDS = {'revolute': 'revolute', 'continuous': 'revolute', 'prismatic': 'prismatic', 'fixed': 'fixed'}
PACKAGES = ('package', 'model')  # of ROS, of Gazebo
SHAPES = {'cylinder': ('radius', 'length'), 'sphere': ('radius',), 'box': ('size',)}


def open_robot(source: str) -> RobotModel:
    """Return a published model by name, or read a URDF or xacro file.

    Args:
        source: The name, or the file; behind a xacro file its arguments, `arm.xacro tool:=420006`.

    Raises:
        ConfigError: Neither a known name nor a file, or an argument that is none.
        InputError: MODEL_REFUSED with the reason.
    """
    if source in MODELS:
        return published_model(source)
    name, arguments = split_arguments(source)
    path = Path(name).expanduser()
    if not path.is_file():
        hint = nearest(source, MODELS)
        raise ConfigError(f'model={source!r} is neither a file nor one of {", ".join(MODELS)}{hint}')
    return read_robot(path, arguments)


def read_robot(path: Path | str, arguments: Mapping[str, str] | None = None) -> RobotModel:
    """Read a robot from a URDF file, or from a xacro file (needs `xacrodoc`).

    Args:
        path: The file.
        arguments: Values of the arguments of a xacro file.

    Raises:
        ConfigError: Arguments for a plain URDF, or one that the xacro file does not have.
        InputError: MODEL_REFUSED: not XML, a document type or entity, a mesh outside the folder, or a robot that
            `RobotModel` refuses.
    """
    path = Path(path)
    data = read_bytes_bounded(path, code=REFUSED)
    if is_xacro(path, data):
        data = expand_xacro(path, data, arguments or {})
    elif arguments:
        raise ConfigError(f'{path}: only a xacro file takes arguments, {next(iter(arguments))!r} is for none')
    return parse_robot(data, where=str(path), folder=path.parent)


def parse_robot(data: bytes, *, where: str, folder: Path) -> RobotModel:
    """Make a robot from the text of a URDF; see `read_robot`.

    Args:
        data: The document.
        where: File name, for errors.
        folder: Folder that meshes must stay in.

    Raises:
        InputError: MODEL_REFUSED, with what is wrong with it.
    """
    root = parse_xml(data, where=where, code=REFUSED)
    if root.tag != 'robot':
        raise InputError(f'{where}: the root element is <{root.tag}>, expected <robot>', code=REFUSED)
    try:
        for tag in ('link', 'joint'):
            count = len(root.findall(tag))
            if count > MAX_JOINTS + 1:
                raise _refused(f'{count} <{tag}> elements are above the limit of {MAX_JOINTS + 1}')
        links = _links(root)
        for mesh in root.iter('mesh'):
            _check_mesh(mesh.get('filename', ''), folder)
        for mass in root.iterfind('link/inertial/mass'):  # not those of SDF in <gazebo>
            if _numbers(mass, 'value', 1)[0] < 0.0:
                raise _refused(f'a mass of {mass.get("value")} kg')
        joints = tuple(_joint(element, links) for element in root.findall('joint'))
        shapes = tuple(shape for element in root.findall('link') for shape in _shapes(element))
        held = {name for joint in joints for name in (joint.parent, joint.child)}
        loose = sorted(set(links) - held)
        if joints and loose:
            raise _refused(f'link {loose[0]!r} hangs on nothing: a robot has one root')
        return RobotModel(root.get('name') or Path(where).stem, joints, shapes)
    except InputError as error:
        raise InputError(f'{where}: {error}', code=REFUSED) from None


def _refused(message: str) -> InputError:
    return InputError(message, code=REFUSED)


def _links(root: Element) -> list[str]:
    names = [_name(element) for element in root.findall('link')]
    doubled = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if doubled:
        raise _refused(f'link {doubled[0]!r} is there twice')
    return names


def _name(element: Element) -> str:
    name = element.get('name', '')
    if not name:
        raise _refused(f'a <{element.tag}> has no name')
    return name


def _joint(element: Element, links: list[str]) -> Joint:
    name = _name(element)
    kind = element.get('type', '')
    if kind not in KINDS:
        hint = (
            ': where a robot stands is said by `bases`, `base_files` or calibration/<arm>_base; make the joint fixed'
            if kind in ('floating', 'planar')
            else ''
        )
        raise _refused(f'joint {name!r}: type {kind!r} is none of {", ".join(KINDS)}{hint}')
    ends = [_end(element, tag, name, links) for tag in ('parent', 'child')]
    lower, upper = _limits(element, name, kind)
    mimic = element.find('mimic')
    follows, ratio, offset = '', 1.0, 0.0
    if mimic is not None:
        follows = mimic.get('joint', '')
        if not follows:
            raise _refused(f'joint {name!r}: <mimic> names no joint')
        ratio, offset = _numbers(mimic, 'multiplier', 1, '1')[0], _numbers(mimic, 'offset', 1, '0')[0]
    return Joint(
        name, KINDS[kind], *ends, _origin(element), _axis(element, name, kind), lower, upper, follows, ratio, offset
    )


def _end(element: Element, tag: str, name: str, links: list[str]) -> str:
    end = element.find(tag)
    link = end.get('link', '') if end is not None else ''
    if not link:
        raise _refused(f'joint {name!r} has no <{tag} link=…>')
    if link not in links:
        raise _refused(f'joint {name!r}: {tag} link {link!r} is not there{nearest(link, links)}')
    return link


def _axis(element: Element, name: str, kind: str) -> Array:
    axis = element.find('axis')
    if axis is None or kind == 'fixed':
        return np.array([1.0, 0.0, 0.0])
    vector = np.array(_numbers(axis, 'xyz', 3))
    length = float(np.linalg.norm(vector))
    if not length > 1e-9:
        raise _refused(f'joint {name!r}: the axis has length {length:g}')
    return vector / length


def _limits(element: Element, name: str, kind: str) -> tuple[float, float]:
    limit = element.find('limit')
    if kind in ('continuous', 'fixed'):
        return -math.inf, math.inf
    if limit is None:
        raise _refused(f'joint {name!r}: a {kind} joint needs <limit lower=… upper=…>')
    return _numbers(limit, 'lower', 1, '0')[0], _numbers(limit, 'upper', 1, '0')[0]


def _origin(element: Element) -> Array:
    origin = element.find('origin')
    if origin is None:
        return np.eye(4)
    roll, pitch, yaw = _numbers(origin, 'rpy', 3, '0 0 0')
    return make_transform(rotation_from_rpy(roll, pitch, yaw), _numbers(origin, 'xyz', 3, '0 0 0'))


def rotation_from_rpy(roll: float, pitch: float, yaw: float) -> Array:
    """Return Rz(yaw) Ry(pitch) Rx(roll), shape (3, 3)."""
    (sr, cr), (sp, cp), (sy, cy) = ((math.sin(angle), math.cos(angle)) for angle in (roll, pitch, yaw))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def _numbers(element: Element, key: str, count: int, default: str | None = None) -> list[float]:
    text = element.get(key, default)
    if text is None:
        raise _refused(f'<{element.tag}> has no {key}')
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        raise _refused(f'<{element.tag} {key}={text[:60]!r}>: not numbers') from None
    if len(values) != count:
        raise _refused(f'<{element.tag} {key}={text[:60]!r}>: {len(values)} numbers, expected {count}')
    if not all(map(math.isfinite, values)):
        raise _refused(f'<{element.tag} {key}={text[:60]!r}> has NaN or Inf')
    return values


def _shapes(link: Element) -> list[Shape]:
    found = []
    for visual in link.findall('visual'):
        geometry = visual.find('geometry')
        for element in geometry if geometry is not None else ():
            if element.tag in SHAPES:
                size = [v for key in SHAPES[element.tag] for v in _numbers(element, key, 3 if key == 'size' else 1)]
                if min(size) < 0.0:
                    raise _refused(f'link {link.get("name")!r}: a {element.tag} of size {size}')
                if min(size) > 0.0:  # of size 0 where a link is only a place
                    found.append(Shape(_name(link), element.tag, tuple(size), _origin(visual)))
    return found


def _check_mesh(filename: str, folder: Path) -> None:
    """Refuse a mesh outside the packages of the robot: others read it with the rights of whoever opens the robot."""
    scheme, parted, rest = filename.partition('://')
    if parted and scheme in PACKAGES:
        if '..' in PurePosixPath(rest).parts:
            raise _refused(f'mesh {filename!r} leaves its package')
        return
    if parted and scheme != 'file':
        raise _refused(f'mesh {filename!r}: only files and packages')
    try:
        target = (folder / (rest if parted else filename)).resolve()
        inside = target.is_relative_to(folder.resolve()) or _in_package(target, folder.resolve())
    except (OSError, ValueError) as error:
        raise _refused(f'mesh {filename[:80]!r}: {error}') from None
    if not inside:
        raise _refused(
            f'mesh {filename!r} leaves the folder of the robot, and is in no ROS package (a folder with package.xml); '
            'write package://NAME/PATH, or put it beside the robot'
        )


def _in_package(target: Path, folder: Path) -> bool:
    """Whether a file is in a ROS package: a folder with package.xml, or `share/NAME` of an installed one.

    Of the folder's own package its `urdf` and `meshes` lie side by side, and may have been copied without package.xml.
    """
    parts = target.parts
    installed = parts[1:2] in (('opt',), ('usr',)) and 'share' in parts[2:-2]
    beside = folder.name in ('urdf', 'robots', 'xacro', 'description') and target.is_relative_to(folder.parent)
    return installed or beside or any((parent / PACKAGE).is_file() for parent in target.parents)
