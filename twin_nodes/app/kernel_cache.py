"""Removes compiled kernels that numba would wrongly keep.

numba compiles a function anew when the file that it stands in has changed, not when a kernel or intrinsic that it
calls has, and which is compiled into it. After an update the old code would go on giving the old numbers.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def drop_outdated(package: Path = PACKAGE) -> int:
    """Remove the compiled kernels of each module that is older than a kernel module which it imports, also indirectly.

    Args:
        package: Folder of the package; what numba keeps elsewhere (a read-only install) is left to its owner.

    Returns:
        How many modules lost their compiled kernels.
    """
    texts = {path: path.read_text(encoding='utf-8') for path in package.rglob('*.py')}
    kernels = {path: text for path, text in texts.items() if 'njit' in text or 'intrinsic' in text}
    calls = {path: set(_imported(text, path, package)) & kernels.keys() for path, text in kernels.items()}
    dropped = 0
    for path in kernels:
        kept = list((path.parent / '__pycache__').glob(f'{path.stem}.*.nb[ic]'))
        changed = max((one.stat().st_mtime for one in _reached(path, calls)), default=0.0)
        if kept and min(file.stat().st_mtime for file in kept) < changed:
            dropped += 1
            for file in kept:
                file.unlink(missing_ok=True)
    return dropped


def _imported(text: str, path: Path, package: Path) -> Iterator[Path]:
    """Yield the files of this package that a module imports from."""
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.ImportFrom) and f'{node.module}.'.startswith(f'{package.name}.'):
            folder = package.parent.joinpath(*node.module.split('.'))
            yield folder.with_suffix('.py')
            yield from (folder / f'{alias.name}.py' for alias in node.names)


def _reached(path: Path, calls: Mapping[Path, set[Path]]) -> set[Path]:
    """Return the kernel modules that a module imports, themselves or through others."""
    found: set[Path] = set()
    ahead = [path]
    while ahead:
        for one in calls[ahead.pop()] - found:
            found.add(one)
            ahead.append(one)
    return found - {path}
