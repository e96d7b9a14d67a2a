"""PLUS configuration files: tool tips, published transforms and the landmarks of the phantom.

Frames are named as the calibration and registration algorithms of the file name them. Read with expat directly: any
DOCTYPE is refused before it is looked at, so there are no entities to expand and nothing is fetched from elsewhere.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, check_transform
from twin_nodes.io.recordings.recording import MM

MAX_FILE_BYTES = 16 << 20
MAX_DEPTH = 64
UNKNOWN_TIP_SIGMA = 0.0005  # m
_WIRE_ENDS = ('EndPointFront', 'EndPointBack')
_LANDMARK_ALGORITHM = re.compile(r'(vtk|Plus|IGSIO)*PhantomLandmarkRegistrationAlgo')
_PIVOT_ALGORITHM = re.compile(r'(vtk|Plus|IGSIO)*PivotCalibrationAlgo')


@dataclass(frozen=True)
class PlusTransform:
    """One published transform of a configuration.

    Args:
        to_T_from: Pose of the frame `from_frame` in `to_frame` [m], shape (4, 4).
        error_m: The error that PLUS noted with it [m], or None.
        date: As written, or ''.
    """

    from_frame: str
    to_frame: str
    to_T_from: Array
    error_m: float | None
    date: str


@dataclass(frozen=True)
class PlusConfig:
    """What a PLUS configuration says about tools and phantom.

    Args:
        path: The file.
        transforms: Those whose matrix is written in the file.
        landmark_names: In the order in which they are touched.
        landmarks_phantom: Landmarks in the phantom frame [m], shape (n, 3).
        sequence_files: Names of the recordings that it plays.
        wires_phantom: End points of the phantom's wires in its frame [m], shape (m, 2, 3).
        phantom_frame: Name of the phantom's frame.
        reference_frame: Name of the reference body's frame.
        tip_frame: Name of the stylus tip's frame.
        stylus_frame: Name of the stylus marker's frame.
        tracker_frame: Name of the tracker's frame.
    """

    path: Path
    transforms: tuple[PlusTransform, ...]
    landmark_names: tuple[str, ...]
    landmarks_phantom: Array
    sequence_files: tuple[str, ...]
    phantom_frame: str = 'Phantom'
    reference_frame: str = 'Reference'
    tip_frame: str = 'StylusTip'
    stylus_frame: str = 'Stylus'
    tracker_frame: str = 'Tracker'
    wires_phantom: Array = field(default_factory=lambda: np.zeros((0, 2, 3)))

    def find(self, from_frame: str, to_frame: str) -> PlusTransform | None:
        """Return the transform between two named frames, or None when the file has none."""
        found = [t for t in self.transforms if (t.from_frame, t.to_frame) == (from_frame, to_frame)]
        return found[-1] if found else None

    @property
    def stylus_T_tip(self) -> Array:
        """The stylus tip in the stylus marker [m], shape (4, 4).

        Raises:
            InputError: The file has no such transform.
        """
        found = self.find(self.tip_frame, self.stylus_frame)
        if found is None:
            raise InputError(
                f'{self.path.name}: no transform From="{self.tip_frame}" To="{self.stylus_frame}": the tip of the '
                'stylus is not calibrated; pivot it first'
            )
        return found.to_T_from

    @property
    def tip_sigma(self) -> float:
        """Error of the stylus tip, root mean square of its length [m]; 0.5 mm where the file states none."""
        found = self.find(self.tip_frame, self.stylus_frame)
        return found.error_m if found is not None and found.error_m else UNKNOWN_TIP_SIGMA

    @property
    def stylus_device(self) -> str:
        """Name of the stylus in recordings and on OpenIGTLink."""
        return f'{self.stylus_frame}To{self.tracker_frame}'

    @property
    def reference_device(self) -> str:
        """Name of the reference body in recordings and on OpenIGTLink."""
        return f'{self.reference_frame}To{self.tracker_frame}'


def read_plus_config(path: Path) -> PlusConfig:
    """Read a PLUS configuration file.

    Raises:
        InputError: Not well-formed XML, a DOCTYPE, no PlusConfiguration, or a matrix or position that is no such thing.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f'{path.name} is above {MAX_FILE_BYTES >> 20} MiB: no PLUS configuration')
        root = _parse_xml(path.read_bytes(), path.name)
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from None
    if root.tag != 'PlusConfiguration':
        raise InputError(f'{path.name}: the root is {root.tag!r}, expected PlusConfiguration')
    transforms = tuple(_transforms(root, path.name))
    names, points = _landmarks(root, path.name)
    sequences = [e.get('SequenceFile', '') for e in root.iter('Device')]
    files = tuple(re.split(r'[/\\]', name)[-1] for name in sequences if name)
    wires = _wires(root, path.name)
    return PlusConfig(path, transforms, names, points, files, **_frame_names(root, transforms), wires_phantom=wires)


def _parse_xml(text: bytes, name: str) -> Element:
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    depth = 0

    def refuse(*_: object) -> None:
        raise InputError(f'{name}: a DOCTYPE is refused, entities are not expanded')

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f'{name}: elements nested above {MAX_DEPTH} deep')
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise InputError(f'{name}: not well-formed XML: {error}') from None
    return builder.close()


def _numbers(text: str, count: int, what: str) -> Array:
    try:
        values = np.array([float(word) for word in text.split()])
    except ValueError:
        raise InputError(f'{what}: {text.strip()[:60]!r} is not numeric') from None
    if values.size != count or not np.isfinite(values).all():
        raise InputError(f'{what}: expected {count} finite numbers, got {values.size}')
    return values


def _transforms(root: Element, name: str) -> list[PlusTransform]:
    found = []
    for element in root.iterfind('./CoordinateDefinitions/Transform'):
        from_frame, to_frame = element.get('From', ''), element.get('To', '')
        what = f'{name}: Transform From="{from_frame}" To="{to_frame}"'
        if not from_frame or not to_frame or element.get('Matrix') is None:
            continue
        matrix = _numbers(element.get('Matrix', ''), 16, what).reshape(4, 4)
        if not _is_rigid(matrix):
            continue  # image to probe transforms carry the pixel size
        matrix[:3, 3] *= MM
        error = element.get('Error')
        error_m = float(_numbers(error, 1, f'{what} Error')[0]) * MM if error else None
        to_T_from = check_transform(matrix, name=what)
        found.append(PlusTransform(from_frame, to_frame, to_T_from, error_m, element.get('Date', '')))
    return found


def _wires(root: Element, name: str) -> Array:
    ends = [
        [_numbers(wire.get(end, ''), 3, f'{name}: Wire {wire.get("Name", "")} {end}') for end in _WIRE_ENDS]
        for wire in root.iterfind('./PhantomDefinition/Geometry/Pattern/Wire')
    ]
    return np.array(ends).reshape(-1, 2, 3) * MM


def _is_rigid(matrix: Array) -> bool:
    return bool(np.abs(matrix[:3, :3].T @ matrix[:3, :3] - np.eye(3)).max() < 1e-3 and np.linalg.det(matrix) > 0.0)


def _landmarks(root: Element, name: str) -> tuple[tuple[str, ...], Array]:
    names, points = [], []
    for element in root.iterfind('.//PhantomDefinition//Landmarks/Landmark'):
        label = element.get('Name', f'#{len(names) + 1}')
        names.append(label)
        points.append(_numbers(element.get('Position', ''), 3, f'{name}: Landmark {label}') * MM)
    return tuple(names), np.array(points).reshape(-1, 3)


def _attributes(root: Element, tag: re.Pattern[str]) -> dict[str, str]:
    return next((dict(e.attrib) for e in root.iter() if tag.fullmatch(str(e.tag))), {})


def _frame_names(root: Element, transforms: tuple[PlusTransform, ...]) -> dict[str, str]:
    landmark, pivot = _attributes(root, _LANDMARK_ALGORITHM), _attributes(root, _PIVOT_ALGORITHM)
    tip = landmark.get('StylusTipCoordinateFrame') or pivot.get('ObjectPivotPointCoordinateFrame') or 'StylusTip'
    parents = [t.to_frame for t in transforms if t.from_frame == tip]
    marker = pivot.get('ObjectMarkerCoordinateFrame')
    if marker is None or (parents and marker not in parents):
        marker = parents[-1] if parents else tip.removesuffix('Tip') or 'Stylus'
    reference = landmark.get('ReferenceCoordinateFrame') or pivot.get('ReferenceCoordinateFrame') or 'Reference'
    trackers = [e.get('ToolReferenceFrame', '') for e in root.iter('Device')]
    return {
        'phantom_frame': landmark.get('PhantomCoordinateFrame') or 'Phantom',
        'reference_frame': reference,
        'tip_frame': tip,
        'stylus_frame': marker,
        'tracker_frame': next((frame for frame in trackers if frame), 'Tracker'),
    }
