"""Compiled kernels do not outlive a change of what they call."""

import os
from pathlib import Path

import pytest

from twin_nodes.app.kernel_cache import drop_outdated

SOURCES = {
    'inner.py': 'from numba import njit\n',
    'middle.py': 'from numba import njit\nfrom pack.inner import a\n',
    'outer.py': 'from numba import njit\nfrom pack import middle\n',
    'apart.py': 'from numba import njit\n',
    'vectors.py': 'from numba.extending import intrinsic\n',
    'sums.py': 'from numba import njit\nfrom pack import vectors\n',
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / 'pack'
    (folder / '__pycache__').mkdir(parents=True)
    for name, text in SOURCES.items():
        (folder / name).write_text(text)
        os.utime(folder / name, (100, 100))
        for end in ('nbi', '1.nbc'):
            kept = folder / '__pycache__' / f'{Path(name).stem}.f-1.py311.{end}'
            kept.touch()
            os.utime(kept, (200, 200))
    return folder


def _kept(package: Path) -> set[str]:
    return {file.name.split('.')[0] for file in (package / '__pycache__').iterdir()}


def test_all_that_calls_a_changed_kernel_is_compiled_anew(package: Path) -> None:
    os.utime(package / 'inner.py', (300, 300))

    assert drop_outdated(package) == 2
    assert _kept(package) == {'inner', 'apart', 'vectors', 'sums'}  # numba sees by itself that inner has changed


def test_what_calls_a_changed_intrinsic_is_compiled_anew(package: Path) -> None:
    os.utime(package / 'vectors.py', (300, 300))

    assert drop_outdated(package) == 1
    assert 'sums' not in _kept(package)


def test_nothing_is_removed_while_nothing_has_changed(package: Path) -> None:
    assert drop_outdated(package) == 0
    assert _kept(package) == {Path(name).stem for name in SOURCES}
