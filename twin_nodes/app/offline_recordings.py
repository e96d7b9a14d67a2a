"""What the commands on recordings ask of them: the poses of one device, and where a tip dwelt."""

import numpy as np

from twin_nodes.core.calibration.dwell import Dwell, DwellConfig, DwellDetector
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, inverse
from twin_nodes.io.recordings.recording import Recording


def choose_device(recording: Recording, device: str, reference: str) -> str:
    """Return the tool meant: the one named, or the only one that is no reference.

    Raises:
        InputError: No such device, or several.
    """
    for name in (device, reference):
        if name and name not in recording.devices:
            names = ', '.join(recording.devices)
            raise InputError(
                f'{recording.path.name}: no device {name!r}; it has {names}{nearest(name, recording.devices)}'
            )
    if device:
        return device
    rest = [name for name in recording.devices if name != reference]
    if not rest:
        raise InputError(f'{recording.path.name}: no tool was tracked in it')
    if len(rest) != 1:
        raise InputError(f'{recording.path.name}: name the tool, one of {", ".join(rest)}')
    return rest[0]


def poses_in(recording: Recording, device: str, reference: str) -> tuple[tuple[int, ...], Array]:
    """Return stamps and poses (n, 4, 4) of a device in the frame of a reference, where both were seen.

    Raises:
        InputError: No such device, or never seen.
    """
    choose_device(recording, device, reference)
    stamps, poses = [], []
    for frame in recording.frames:
        tracker_T_tool = frame.poses[device].tracker_T_tool
        if tracker_T_tool is None:
            continue
        if reference:
            tracker_T_reference = frame.poses[reference].tracker_T_tool
            if tracker_T_reference is None:
                continue
            tracker_T_tool = inverse(tracker_T_reference) @ tracker_T_tool
        stamps.append(frame.stamp_ns)
        poses.append(tracker_T_tool)
    if not poses:
        reasons = sorted({frame.poses[device].reason for frame in recording.frames} - {''})
        together = f' together with {reference}' if reference else ''
        raise InputError(
            f'{recording.path.name}: {device} was never seen{together} in {len(recording.frames)} frames '
            f'({", ".join(reasons) or "reference lost"})',
            code='TOOL_LOST',
        )
    return tuple(stamps), np.array(poses)


def find_dwells(stamps_ns: tuple[int, ...], tips_patient: Array, config: DwellConfig | None = None) -> list[Dwell]:
    """Return all dwells of a recorded tip [m], shape (n, 3), the one at the end of the recording too."""
    detector = DwellDetector(config)
    found = [detector.add(stamp, tip) for stamp, tip in zip(stamps_ns, tips_patient, strict=True)]
    found.append(detector.finish())
    return [dwell for dwell in found if dwell is not None]


def rotations_at(stamps_ns: tuple[int, ...], poses: Array, dwells: list[Dwell]) -> Array:
    """Return the rotation (n, 3, 3) of the tool in the middle of each dwell."""
    stamps = np.array(stamps_ns)
    middle = [int(np.abs(stamps - (dwell.start_ns + dwell.end_ns) // 2).argmin()) for dwell in dwells]
    return np.asarray(poses[middle, :3, :3])
