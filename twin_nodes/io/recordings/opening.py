"""Opening any recording: the content decides, not the name."""

from pathlib import Path

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings.matrix_folder import read_matrix_folder
from twin_nodes.io.recordings.ndi_csv import read_ndi_csv
from twin_nodes.io.recordings.plus_sequence import read_plus_sequence
from twin_nodes.io.recordings.recording import Recording

KINDS = 'a PLUS sequence (.igs.mha, .mha, .nrrd), an NDI CSV, or a folder of 4×4 text files'


def open_recording(path: Path | str) -> Recording:
    """Read a recording of any kind that is known.

    Raises:
        InputError: The path does not exist, cannot be read, or is none of the kinds.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return read_matrix_folder(path)
        with path.open('rb') as stream:
            start = stream.read(4096)
        if not start:
            raise InputError(f'{path.name} is empty; expected {KINDS}')
        if start.startswith(b'NRRD') or b'ObjectType' in start or b'Seq_Frame' in start or b'NDims' in start:
            return read_plus_sequence(path)
        if b'\0' not in start and b'hour' in start.lower():
            return read_ndi_csv(path)
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from None
    raise InputError(f'{path.name} is no recording that is known; expected {KINDS}')
