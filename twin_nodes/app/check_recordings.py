"""What `twin check` says of recordings, tables of poses, videos and bags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from twin_nodes.app.check_images import refused_as_both
from twin_nodes.app.check_texts import (
    inspect_intrinsics,
    inspect_link,
    inspect_part,
    inspect_points,
    inspect_transform,
)
from twin_nodes.core.errors import InputError

if TYPE_CHECKING:
    from twin_nodes.io.recordings.pose_csv import PoseTable

PACKED = ('.zip', '.gz')
_NO_TABLE = 'no table of poses'
_ROTATIONS = (b'qx', b'rx', b'roll', b'rot', b'quat', b'orient', b'r11')  # in the names of columns


def inspect_recording(file: Path) -> str:
    """Say what a recording, the trace of one marker, or a test of a material holds."""
    from twin_nodes.io.recordings import open_recording

    try:
        recording = open_recording(file)
    except InputError as refusal:
        if file.name.lower().endswith(('.mha', '.mhd', '.nrrd')):
            return refused_as_both(refusal, file)
        for look in (
            _marker, _compression, _transcript, inspect_link, inspect_transform, inspect_intrinsics, _points,
            inspect_part,
        ):  # fmt: skip
            try:
                return look(file)
            except InputError:
                continue
        raise refusal from None
    if recording.kind == 'pose_table' and file.suffix.lower() not in PACKED:
        return inspect_pose_table(file)
    notes = f'; {"; ".join(recording.notes)}' if recording.notes else ''
    verdict = 'good' if recording.devices else 'with a warning'
    devices = f'devices {", ".join(recording.devices)}' if recording.devices else 'no device was tracked in it'
    return (
        f'recording ({recording.kind}), {verdict}: {len(recording.frames)} frames over {recording.duration_s:.1f} s, '
        f'{devices}{notes}'
    )


def _compression(file: Path) -> str:
    """Read a compression test of a material."""
    from twin_nodes.io.compression_tests import read_test

    if not file.is_file():
        raise InputError(f'{file}: no table')
    test = read_test(file)
    notes = f'; {"; ".join(test.notes)}' if test.notes else ''
    return (
        f'compression test, good: {test.material}, piece {test.specimen}, {len(test.strain)} samples to '
        f'{100.0 * test.greatest:.1f} % and {1e-3 * abs(float(test.stress[-1])):.4g} kPa{notes}; type '
        f'`twin calibrate material {file.parent}`'
    )


def inspect_signals(file: Path) -> str:
    """Say what channels a record of signals has, WFDB or EDF."""
    from twin_nodes.io.recordings.edf import read_edf
    from twin_nodes.io.recordings.wfdb import read_wfdb

    signals = read_wfdb(file) if file.suffix.lower() == '.hea' else read_edf(file)
    told = ', '.join(f'{one.name!r} [{one.unit or "no unit"}] {one.rate_hz:g} Hz' for one in signals)
    seconds = max((len(one.values) / one.rate_hz for one in signals), default=0.0)
    return f'record of signals, good: {told}; {seconds:.1f} s; type `twin breathing {file}` for a breath in it'


def _transcript(file: Path) -> str:
    """Read the transcript of a trial."""
    from twin_nodes.io.recordings.gestures import read_gestures

    gestures = read_gestures(file)
    labels = ', '.join(dict.fromkeys(gesture.label for gesture in gestures))
    return (
        f'transcript of a trial, good: {len(gestures)} gestures ({labels}) from {gestures[0].start:g} to '
        f'{gestures[-1].end:g}; type `twin metrics TRIAL --gestures {file}`'
    )


def _marker(file: Path) -> str:
    import numpy as np

    from twin_nodes.io.recordings.marker_csv import read_marker_csv

    _refuse_rotations(file)
    trace = read_marker_csv(file)
    seconds = float(trace.stamps_ns[-1] - trace.stamps_ns[0]) * 1e-9
    notes = f'; {"; ".join(trace.notes)}' if trace.notes else ''
    notes += f'; type `twin breathing {file}`'
    spans = ' × '.join(f'{1e3 * span:.1f}' for span in np.ptp(trace.positions, axis=0))
    return f'trace of one marker, good: {len(trace.stamps_ns)} samples over {seconds:.1f} s, moves {spans} mm{notes}'


def _points(file: Path) -> str:
    """Read points, of a file that is no table of poses which cannot be read."""
    _refuse_rotations(file)
    return inspect_points(file)


def _refuse_rotations(file: Path) -> None:
    with file.open('rb') as stream:
        line = stream.readline(1 << 16).lower()
    if any(word in line for word in _ROTATIONS):
        raise InputError(f'{file}: a table of poses, no trace of a marker and no points')


def inspect_video(file: Path) -> str:
    """Say what a video or image shows."""
    from twin_nodes.app.track import describe_video

    return describe_video(file)


def inspect_pose_table(file: Path) -> str:
    """Describe a table of poses, or each of those in an archive."""
    from twin_nodes.io.recordings.table_archive import member_names

    names = member_names(file)
    if len(names) >= 2:
        told = {name: _of_archive(file, name) for name in names}
        if any(not text.startswith(_NO_TABLE) for text in told.values()):
            return '; '.join(f'{name}: {text}' for name, text in told.items())
        return inspect_recording(file)
    try:
        return _one_pose_table(file)
    except InputError:
        if file.suffix.lower() not in PACKED:
            raise
        return inspect_recording(file)


def _of_archive(file: Path, name: str) -> str:
    try:
        return _one_pose_table(file, name)
    except InputError as error:
        return f'{_NO_TABLE} ({error})'


def _one_pose_table(file: Path, member: str = '') -> str:
    from twin_nodes.io.recordings.pose_csv import read_pose_tables

    tables = read_pose_tables(file, member=member)
    said = [_described(table) for table in tables.values()]
    if len(said) == 1:
        return said[0]
    first = next(iter(tables.values()))
    return f'{len(said)} tables of poses, name one as {first.path.name}#{first.tool}: {"; ".join(said)}'


def _described(table: PoseTable) -> str:
    stream = table.stream
    notes = f'; {"; ".join(table.notes)}' if table.notes else ''
    return (
        f'table of poses, good: {table.name}, {len(stream.stamps_ns)} poses over {stream.duration:.1f} s at '
        f'{1.0 / stream.period:.0f} Hz, {stream.merged} stamps repeated, {stream.reordered} out of order{notes}'
    )


def inspect_bag(file: Path) -> str:
    """Say what a bag holds, and whether all of it is whole."""
    from twin_nodes.io.bags.reader import BagReader

    with BagReader(file) as reader:
        loss = reader.loss
        span_s = (reader.end_ns - reader.start_ns) * 1e-9 if reader.message_count else 0.0
        text = f'{reader.message_count} messages on {len(reader.topics)} topics over {span_s:.3f} s'
        if reader.message_count == 0:
            cut = f' in whole chunks; `twin recover {file}` may find some' if loss.bytes else ' that can be read'
            raise InputError(f'{file}: the bag holds no message{cut}')
    if loss:
        lost = ', '.join(f'{name} {value}' for name, value in vars(loss).items() if value)
        raise InputError(f'{file}: bag with {text}, but damaged ({lost}); type `twin recover {file}`')
    return f'bag, good: {text}'
