"""DICOM files: how they are known, found and opened, with or without the preamble of part 10 of the standard."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.errors import ConfigError, InputError

Read = TypeVar('Read', bound=Callable[..., Any])

MAX_FILES = 20_000
_PREAMBLE = 132  # bytes, the last four of them DICM
_GROUPS = (b'\x02\x00', b'\x08\x00')  # the first element of a bare data set, little endian
_MAX_FIRST = 1 << 10  # bytes; the first elements of a data set are short


def refusing_broken(read: Read) -> Read:
    """Let a function refuse its first argument, a path, for values that cannot be read.

    pydicom reads values when they are asked for, and raises many kinds then: anywhere, long after the file was opened.
    """

    @wraps(read)
    def reading(path: Path | str, *args: Any, **kwargs: Any) -> Any:
        try:
            return read(path, *args, **kwargs)
        except (ConfigError, InputError, MemoryError):
            raise
        except Exception as error:
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise refusal(path, f'a value in it is not what DICOM allows ({reason})') from None

    return cast(Read, reading)


def is_dicom(path: Path) -> bool:
    """Whether a file begins like DICOM: DICM after 128 bytes, or a bare data set, as old archives wrote it."""
    with path.open('rb') as stream:
        start = stream.read(_PREAMBLE)
    return start[128:] == b'DICM' or _is_bare(start)


def has_preamble(path: Path) -> bool:
    """Whether a file says itself that it is DICOM."""
    with path.open('rb') as stream:
        return stream.read(_PREAMBLE)[128:] == b'DICM'


def find_dicom_files(folder: Path) -> list[Path]:
    """List the files of a folder and below that begin like DICOM, in the order of their names."""
    found = []
    for path in sorted(path for path in folder.rglob('*') if path.is_file()):
        if path.name != 'DICOMDIR' and is_dicom(path):
            found.append(path)
        if len(found) > MAX_FILES:
            raise refusal(folder, f'more than {MAX_FILES} DICOM files: name the folder of one series')
    return found


def read_header(path: Path, *, pixels: bool = False) -> Any:
    """Read a DICOM file, with or without its pixels.

    Raises:
        ConfigError: pydicom is not installed.
        InputError: ANATOMY_REFUSED when it is no DICOM file, or a broken one.
    """
    try:
        import pydicom
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
    except ModuleNotFoundError:
        raise ConfigError("DICOM needs pydicom: pip install 'twin_nodes[images]'") from None
    try:
        with path.open('rb') as stream:
            bare = _is_bare(stream.read(_PREAMBLE))
        dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, force=bare)
    except Exception as error:  # pydicom raises many kinds for a broken file
        raise refusal(path, f'no readable DICOM file ({error})') from None
    if 'TransferSyntaxUID' not in (getattr(dataset, 'file_meta', None) or {}):
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta = dataset.file_meta if getattr(dataset, 'file_meta', None) else FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _is_bare(start: bytes) -> bool:
    """Whether bytes begin with a first element of group 2 or 8: tag, then a type of two letters or a short length."""
    if len(start) < _PREAMBLE or start[:2] not in _GROUPS or start[3] != 0 or start[128:] == b'DICM':
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    length = int.from_bytes(start[6:8] if explicit else start[4:8], 'little')
    return length <= _MAX_FIRST and length % 2 == 0
