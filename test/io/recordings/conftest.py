from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def write_plus(tmp_path: Path) -> Callable[..., Path]:
    def write(*frames: str, end: str = 'ElementDataFile = LOCAL\n\x00\x01\x02', name: str = 'run.igs.mha') -> Path:
        path = tmp_path / name
        path.write_bytes(('ObjectType = Image\nNDims = 3\n' + ''.join(frames) + end).encode())
        return path

    return write
