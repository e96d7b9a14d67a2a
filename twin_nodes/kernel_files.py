"""Lets processes that compile the same kernels at once keep them side by side.

numba keeps what it compiles in numbered files, and an index of them by the types of the arguments. Two processes that
add to one index at the same time give their files the same number, and the index may then name for one type what was
compiled for another: the numbers are wrong from then on, in silence (numba.core.caching, 0.60 to 0.68). Nodes that are
started together where nothing is compiled yet do just that; here each waits for the other's few milliseconds.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_CACHING = 'numba.core.caching'
_LOCK = 'kernels.lock'


def keep_apart() -> None:
    """Have numba lock the folder of compiled kernels while it reads or adds one, whenever it is imported."""
    if os.name != 'posix':
        return
    if _CACHING in sys.modules:
        _guard(sys.modules[_CACHING])
    elif not any(isinstance(finder, _WhenImported) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenImported())


class _WhenImported:
    """A finder that guards the module once numba imports it; numba takes a third of a second, and not all need it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _CACHING:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_guard(module: ModuleType) -> None:
            execute(module)
            _guard(module)

        spec.loader.exec_module = execute_and_guard  # type: ignore[method-assign]
        return spec


def _guard(caching: ModuleType) -> None:
    file = getattr(caching, 'IndexDataCacheFile', None)
    for name in ('save', 'load'):
        method = getattr(file, name, None)
        if method is not None and not hasattr(method, '__wrapped__'):
            setattr(file, name, _locked(method, alone=name == 'save'))


def _locked(method: Callable[..., Any], *, alone: bool) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Any, *args: Any) -> Any:
        with _lock(Path(self._cache_path), alone=alone):
            return method(self, *args)

    return call


@contextlib.contextmanager
def _lock(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold the lock of a folder, alone or with others that read; one that nobody may write, or no folder, has none."""
    import fcntl  # not on every system

    try:
        file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(file)
