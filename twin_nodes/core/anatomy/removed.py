"""What was removed, as numbered messages: deltas, and snapshots for those that join late or lost some.

A message carries the number and the hash of all voxels that are gone once it is applied, so a receiver knows that it
is identical, and does not merely hope so. A session ends when the volume is brought back (or its maker starts anew);
within a session voxels only ever go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.carving_volume import CarvedVolume, Removal
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

MOST_VOXELS = 1 << 29
CHUNK_RUNS = 12_000
Runs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class RemovedMessage:
    """A delta, or one chunk of a snapshot.

    Args:
        stamp_ns: Time of the pose that did it; for a snapshot, of the newest one.
        session: Number of the session.
        sequence: Number of the delta; a snapshot holds all deltas up to this one.
        chunk: Number of the chunk, from 0; 0 for a delta.
        chunks: Chunks of this snapshot; 0 marks a delta.
        total: Voxels gone once this delta, or the whole snapshot, is applied.
        hash: Sum of their hashes mod 2⁶⁴.
        shape: Size of the volume in voxels.
        anatomy_T_index: Maps voxel indices to the anatomy frame, shape (4, 4).
        starts: Linear index (C order) of the first voxel of each run along the last axis, int64, shape (n,).
        lengths: Voxels of each run, int64, shape (n,).
        structures: Number of the structure of each run, int64, shape (n,).
    """

    stamp_ns: int
    session: int
    sequence: int
    chunk: int
    chunks: int
    total: int
    hash: int
    shape: tuple[int, int, int]
    anatomy_T_index: Array
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    structures: NDArray[np.int64]

    @property
    def is_delta(self) -> bool:
        """Whether this is a delta and no snapshot."""
        return self.chunks == 0


def runs_of(indices: NDArray[np.int64], labels: NDArray[np.integer], row: int) -> Runs:
    """Join neighbouring voxels of one label within a row into runs.

    Args:
        indices: Linear indices, any order, each once, shape (n,).
        labels: Their labels, shape (n,).
        row: Voxels of a row.

    Returns:
        Starts, lengths and labels of the runs, int64.
    """
    order = np.argsort(indices, kind='stable')
    index, label = indices[order], np.asarray(labels, np.int64)[order]
    new = np.ones(len(index), bool)
    new[1:] = (np.diff(index) != 1) | (np.diff(label) != 0) | (index[1:] % row == 0)
    at = np.flatnonzero(new)
    lengths = np.diff(np.append(at, len(index)))
    return index[at], lengths, label[at]


class RemovedSender:
    """Numbers what a volume loses.

    Args:
        volume: The volume.
        session: Number of the session; greater than that of any earlier one.
        structures: Number of the structure of each label from 1 on; label n is structure n - 1 when not given.
    """

    def __init__(self, volume: CarvedVolume, session: int, structures: Sequence[int] = range(127)) -> None:
        self._volume = volume
        self._structures = np.array(structures, np.int64)
        self.session, self.sequence, self._stamp_ns = session, 0, 0

    def restart(self) -> None:
        """Begin a new session, after the volume was brought back."""
        self.session, self.sequence = self.session + 1, 0

    def delta(self, stamp_ns: int, removal: Removal) -> RemovedMessage | None:
        """Return the message of a removal, or None when nothing went."""
        if len(removal.indices) == 0:
            return None
        self.sequence += 1
        self._stamp_ns = stamp_ns
        return self._message(0, 0, *self._runs(removal.indices))

    def snapshot(self) -> list[RemovedMessage]:
        """Return all that went so far, in chunks; one empty chunk when nothing did."""
        starts, lengths, structures = self._runs(self._volume.removed_indices())
        chunks = max(1, -(-len(starts) // CHUNK_RUNS))
        parts = (slice(at * CHUNK_RUNS, (at + 1) * CHUNK_RUNS) for at in range(chunks))
        return [
            self._message(at, chunks, starts[part], lengths[part], structures[part]) for at, part in enumerate(parts)
        ]

    def _runs(self, indices: NDArray[np.int64]) -> Runs:
        labels = self._volume.voxels.ravel()[indices] & 127
        starts, lengths, found = runs_of(indices, labels, self._volume.voxels.shape[2])
        return starts, lengths, self._structures[found - 1]

    def _message(
        self, chunk: int, chunks: int, starts: NDArray[np.int64], lengths: NDArray[np.int64],
        structures: NDArray[np.int64],
    ) -> RemovedMessage:  # fmt: skip
        volume = self._volume
        ni, nj, nk = volume.voxels.shape
        return RemovedMessage(
            self._stamp_ns, self.session, self.sequence, chunk, chunks, volume.removed, volume.hash, (ni, nj, nk),
            volume.anatomy_T_index, starts, lengths, structures,
        )  # fmt: skip


def check_message(message: RemovedMessage) -> None:
    """Refuse a message that does not fit its own volume.

    Raises:
        InputError: ANATOMY_REFUSED.
    """
    size = int(np.prod(message.shape, dtype=np.int64))
    if len(message.shape) != 3 or min(message.shape) < 1 or size > MOST_VOXELS:
        raise _refusal(f'a volume of {message.shape} voxels; limit {MOST_VOXELS}')
    if not np.isfinite(message.anatomy_T_index).all() or not np.linalg.det(message.anatomy_T_index[:3, :3]):
        raise _refusal('its affine is none')
    if message.session < 1 or message.sequence < 0 or not 0 <= message.chunk < max(message.chunks, 1):
        raise _refusal(
            f'session {message.session}, sequence {message.sequence}, chunk {message.chunk}/{message.chunks}'
        )
    row = message.shape[2]
    if len(message.starts) and (
        message.starts.min() < 0 or message.lengths.min() < 1 or (message.starts + message.lengths).max() > size
    ):
        raise _refusal('runs outside its volume')
    if (message.starts % row + message.lengths > row).any():
        raise _refusal('a run longer than its row')


def _refusal(reason: str) -> InputError:
    return InputError(f'anatomy/removed: {reason}', code='ANATOMY_REFUSED')
