"""Two that add compiled kernels to one folder at once keep both."""

import subprocess
import sys
import threading

import pytest
from numba.core import caching

import twin_nodes.kernel_files as kernel_files

STAMP = (1.0, 2)


class Meeting(caching.IndexDataCacheFile):
    """A file of compiled kernels that has read the index and does not add to it before another one has read it too."""

    def __init__(self, folder, have_read):
        super().__init__(str(folder), 'kernels.add-1.py311', STAMP)
        self._have_read = have_read

    def _load_index(self):
        found = super()._load_index()
        self._have_read.release()
        return found

    def _save_index(self, overloads):
        for _ in range(2):
            self._have_read.acquire(timeout=0.3)  # held off by the lock, the other one cannot read meanwhile
        super()._save_index(overloads)


def keep_both(folder, in_thread):
    """Add one entry in each of two threads at once; return what is found of both."""
    have_read = threading.Semaphore(0)
    threads = [in_thread(Meeting(folder, have_read).save, key, f'compiled for {key}') for key in ('float', 'double')]
    for thread in threads:
        thread.join(20.0)
    file = caching.IndexDataCacheFile(str(folder), 'kernels.add-1.py311', STAMP)
    return {key: file.load(key) for key in ('float', 'double')}


BOTH = {'float': 'compiled for float', 'double': 'compiled for double'}


def test_what_two_compile_at_once_is_kept_for_both(tmp_path, in_thread):
    assert keep_both(tmp_path, in_thread) == BOTH


def test_without_the_lock_one_is_lost_or_taken_for_the_other(tmp_path, in_thread, monkeypatch):
    for name in ('save', 'load'):
        monkeypatch.setattr(
            caching.IndexDataCacheFile, name, getattr(caching.IndexDataCacheFile, name).__wrapped__
        )  # fmt: skip
    assert keep_both(tmp_path, in_thread) != BOTH


@pytest.mark.parametrize('order', ['import twin_nodes, numba', 'import numba, twin_nodes'])
def test_numba_is_guarded_whichever_is_imported_first(order):
    code = f'{order}; from numba.core.caching import IndexDataCacheFile as file; print(file.save.__wrapped__.__name__)'
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert found.stdout == 'save\n'


def test_the_package_alone_does_not_load_numba():
    code = "import sys, twin_nodes; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == 'False\n'


def test_a_folder_that_is_not_there_has_nothing_and_no_lock(tmp_path):
    file = caching.IndexDataCacheFile(str(tmp_path / 'none'), 'kernels.add-1.py311', STAMP)
    assert file.load('float') is None and not (tmp_path / 'none').exists()
    with kernel_files._lock(tmp_path, alone=True):
        assert (tmp_path / kernel_files._LOCK).is_file()
