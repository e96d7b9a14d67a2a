"""Distance grids kept on disk, so that the second start of a node does not compute them again."""

import contextlib
import hashlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np

from twin_nodes.core.anatomy.distance_grid import MAX_NODES, DistanceGrid
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.whole_files import write_bytes_whole

VERSION = 1
_SCALARS = ('spacing', 'near_error', 'far_error', 'near_sigma', 'far_sigma', 'signed')


def user_cache() -> Path:
    """Return the folder for distance grids under the user's cache."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'twin_nodes' / 'grids'


def grid_key(surface: Surface, spacing: float, margin: float) -> str:
    """Return the sha256 of all that a grid follows from: geometry, spacing, margin and the version of the method."""
    digest = hashlib.sha256(f'grid {VERSION} {spacing!r} {margin!r} {len(surface.vertices)}\n'.encode())
    digest.update(np.ascontiguousarray(surface.vertices, '<f8').tobytes())
    digest.update(np.ascontiguousarray(surface.triangles, '<i4').tobytes())
    return digest.hexdigest()


def cached_grid(
    folder: Path, surface: Surface, spacing: float, margin: float, *, allow_unsigned: bool = False
) -> DistanceGrid:
    """Return the grid from the folder, or compute and keep it where that can be written; damaged files are made anew.

    Args:
        folder: Where grids are kept; made when absent.
        surface: The surface in the anatomy frame.
        spacing: Distance between nodes [m].
        margin: How far the grid reaches beyond the surface [m].
        allow_unsigned: As in `DistanceGrid.from_surface`.

    Raises:
        ConfigError: from `DistanceGrid.from_surface`.
        InputError: from `DistanceGrid.from_surface`.
    """
    path = folder / f'{grid_key(surface, spacing, margin)}.npz'
    try:
        grid = load_grid(path, surface.name)
        if grid.signed or allow_unsigned:
            return grid
    except (InputError, FileNotFoundError):
        pass
    grid = DistanceGrid.from_surface(surface, spacing, margin, allow_unsigned=allow_unsigned)
    with contextlib.suppress(ConfigError):  # a folder that cannot be written costs time at the next start, no answer
        save_grid(path, grid)
    return grid


def save_grid(path: Path, grid: DistanceGrid) -> None:
    """Write a grid so that the file is either whole or not there.

    Raises:
        ConfigError: It cannot be written.
    """
    whole = io.BytesIO()
    scalars = np.array([float(getattr(grid, name)) for name in _SCALARS])
    np.savez(whole, version=np.int64(VERSION), origin=grid.origin, values=grid.values, scalars=scalars)
    write_bytes_whole(path, whole.getbuffer())


def load_grid(path: Path, name: str) -> DistanceGrid:
    """Read a grid that `save_grid` wrote.

    Args:
        path: The file.
        name: Name of the structure.

    Raises:
        FileNotFoundError: there is none.
        InputError: ANATOMY_REFUSED when it is damaged, of another version, or holds what no grid holds.
    """
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as stored:
            version, origin = int(stored['version']), stored['origin']
            values, scalars = stored['values'], stored['scalars']
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError, NotImplementedError) as error:
        raise InputError(f'{path}: no readable grid ({error})', code='ANATOMY_REFUSED') from None
    sound = (
        version == VERSION
        and values.dtype == np.float32
        and values.ndim == 3
        and min(values.shape) >= 2
        and origin.shape == (3,)
        and scalars.shape == (len(_SCALARS),)
        and np.isfinite(origin).all()
        and np.isfinite(scalars).all()
        and scalars[0] > 0.0
        and np.isfinite(values).all()
    )
    if not sound:
        raise InputError(f'{path}: not a distance grid of version {VERSION}', code='ANATOMY_REFUSED')
    spacing, near_error, far_error, near_sigma, far_sigma, signed = scalars.tolist()
    return DistanceGrid(
        name,
        np.ascontiguousarray(origin, np.float64),
        spacing,
        np.ascontiguousarray(values),
        near_error,
        far_error,
        near_sigma,
        far_sigma,
        signed > 0.0,
    )


def _check_sizes(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        announced = sum(entry.file_size for entry in archive.infolist())
    if announced > 4 * MAX_NODES + 100_000:
        raise ValueError(f'it announces {announced} bytes, limit {4 * MAX_NODES + 100_000}')
