"""Shared-memory files that killed nodes left in /dev/shm."""

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path('/dev/shm')  # noqa: S108
PATTERNS = ('fastdds_*', 'fastrtps_*', 'sem.fastdds_*', 'sem.fastrtps_*')
YOUNG_S = 60.0


def stale_files(folder: Path = FOLDER, proc: Path = Path('/proc')) -> list[Path]:
    """List Fast DDS files that no process maps or holds open.

    Files of other users and files younger than a minute are left alone: their owner may be just about to map them.
    """
    used = _used(proc)
    now = time.time()
    found = []
    for pattern in PATTERNS:
        for path in sorted(folder.glob(pattern)):
            with contextlib.suppress(OSError):
                state = path.stat()
                if state.st_uid == os.getuid() and now - state.st_mtime > YOUNG_S and str(path) not in used:
                    found.append(path)
    return found


def _used(proc: Path) -> set[str]:
    """Collect the shared-memory paths that any process maps or holds open."""
    used: set[str] = set()
    for process in proc.glob('[0-9]*'):
        with contextlib.suppress(OSError):
            for line in (process / 'maps').read_text(errors='replace').splitlines():
                if 'fastdds' in line or 'fastrtps' in line:
                    used.add(line.split(None, 5)[-1])
        with contextlib.suppress(OSError):
            for descriptor in (process / 'fd').iterdir():
                with contextlib.suppress(OSError):
                    used.add(os.readlink(descriptor))  # noqa: PTH115
    return used


def remove(paths: Iterable[Path]) -> tuple[int, int]:
    """Remove files; returns how many and their bytes."""
    count = size = 0
    for path in paths:
        with contextlib.suppress(OSError):
            bytes_held = path.stat().st_size
            path.unlink()
            count, size = count + 1, size + bytes_held
    return count, size
