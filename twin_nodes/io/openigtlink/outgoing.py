"""One frame of poses, encoded once for all clients in each form that one of them asks for."""

from collections.abc import Mapping

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, quat_from_rotation
from twin_nodes.io.openigtlink.codec import DEVICE_BYTES, encode
from twin_nodes.io.openigtlink.messages import Message, QTData, QTElement, TData, TElement, ToolKind, Transform

LOST_METADATA = {'TransformStatus': 'INVALID', 'TransformValid': 'False'}


def wire_names(names: list[str]) -> dict[str, str]:
    """Cut names to the 20 bytes of the wire, as every OpenIGTLink sender does.

    Raises:
        InputError: when two names are the same after the cut.
    """
    cut = {name: name.encode()[:DEVICE_BYTES].decode(errors='ignore') for name in names}
    owners: dict[str, str] = {}
    for name, short in cut.items():
        if short in owners:
            raise InputError(
                f'{owners[short]!r} and {name!r} are both {short!r} in the 20 bytes of a device name; rename one',
                code='PROTOCOL',
            )
        owners[short] = name
    return cut


class OutgoingFrame:
    """The poses of one instant, ready to be sent.

    Args:
        stamp_ns: Time of measurement.
        poses: Name to pose [m] (4, 4), or None for a lost tool; names as they go on the wire.
        version: Header version 1 or 2.
        device: Device name of TDATA and QTDATA messages.
    """

    def __init__(self, stamp_ns: int, poses: Mapping[str, Array | None], *, version: int, device: str) -> None:
        self.stamp_ns = stamp_ns
        self.poses = dict(poses)
        self._version = version
        self._device = device
        self._encoded: dict[str, bytes] = {}

    def encoded(self, kind: str) -> bytes:
        """Return the bytes of the frame as TRANSFORM, TDATA or QTDATA."""
        if kind not in self._encoded:
            self._encoded[kind] = b''.join(encode(message, self._version) for message in self.messages(kind))
        return self._encoded[kind]

    def messages(self, kind: str) -> list[Message]:
        """Return the messages of the frame as TRANSFORM, TDATA or QTDATA."""
        return {'TRANSFORM': self._transforms, 'TDATA': self._tdata, 'QTDATA': self._qtdata}[kind]()

    def transform(self, name: str) -> Transform | None:
        """Return the message for one tool; None when it is lost and version 1 has no way to say so."""
        pose = self.poses[name]
        if pose is not None:
            return Transform(name, pose, stamp_ns=self.stamp_ns)
        if self._version < 2:
            return None
        # A body must be sent: zeros are no rotation, so a receiver blind to metadata cannot take them for a pose.
        return Transform(name, np.zeros((4, 4)), stamp_ns=self.stamp_ns, metadata=LOST_METADATA)

    def _transforms(self) -> list[Message]:
        return [message for message in map(self.transform, self.poses) if message is not None]

    def _seen(self) -> list[tuple[str, Array]]:
        return [(name, np.asarray(pose, float)) for name, pose in self.poses.items() if pose is not None]

    def _tdata(self) -> list[Message]:
        elements = tuple(TElement(name, ToolKind.SIX_DOF, pose) for name, pose in self._seen())
        return [TData(self._device, elements, stamp_ns=self.stamp_ns)]

    def _qtdata(self) -> list[Message]:
        elements = tuple(
            QTElement(name, ToolKind.SIX_DOF, pose[:3, 3], quat_from_rotation(pose[:3, :3]))
            for name, pose in self._seen()
        )
        return [QTData(self._device, elements, stamp_ns=self.stamp_ns)]
