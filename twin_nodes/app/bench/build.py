"""Bench `build`: from a label volume of 512 × 512 × 300 voxels to surfaces, tetrahedra and distance grids.

The anatomy is made of ellipsoids whose volumes are known: a body around a liver with a tumour, a kidney, a vessel of
two voxels and a nodule of one. Each run is a process of its own with one thread, the kernels compiled beforehand, so
that its peak memory is its own. The peer does the same with what one would put together from PyPI: marching cubes of
scikit-image on a smoothed indicator for each structure, and an exact Euclidean distance transform of scipy inside and
out. Where fast-simplification and pytetwild are installed it decimates and fills with these too; else it has neither.
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.app.figures import judge
from twin_nodes.core.anatomy.label_volume import LabelVolume

SPACING = (0.0007, 0.0007, 0.001)
NAMES = ('body', 'liver', 'kidney', 'tumour', 'vessel', 'nodule')
TETS, GRID = 20_000, 0.002
PEER = 'scikit-image + scipy'


def anatomy(shape: tuple[int, int, int]) -> tuple[LabelVolume, dict[int, float]]:
    """Return the labels, and the true volume [m³] of the ellipsoids that nothing lies in, by label."""
    scale = shape[0] / 512.0
    labels = np.zeros(shape, np.uint8)
    parts = {
        1: ((256, 256, 150), (225, 175, 135)),
        2: ((190, 250, 150), (110, 90, 70)),
        3: ((360, 260, 140), (45, 35, 60)),
        4: ((185, 240, 150), (20, 22, 15)),
    }
    truth = {}
    for label, (centre, radii) in parts.items():
        _fill(labels, np.array(centre) * scale, np.array(radii) * scale, label)
        truth[label] = 4.0 / 3.0 * math.pi * float(np.prod(np.array(radii) * scale * np.array(SPACING)))
    long = slice(int(300 * scale), int(340 * scale))
    labels[long, int(350 * scale) : int(350 * scale) + 2, int(150 * scale) : int(150 * scale) + 2] = 5
    labels[int(320 * scale), int(170 * scale), int(120 * scale)] = 6
    affine = np.diag([*SPACING, 1.0])
    return LabelVolume(labels, affine), {label: truth[label] for label in (3, 4)}


def _fill(labels: NDArray[np.uint8], centre: Any, radii: Any, label: int) -> None:
    low, high = np.floor(centre - radii).astype(int), np.ceil(centre + radii).astype(int) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    axes = np.ogrid[box]
    squared = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radii, strict=True))
    labels[box][squared < 1.0] = label


def ours(volume: LabelVolume) -> dict[str, Any]:
    """Surfaces (decimated, measured), tetrahedra of the body with all in it, and a grid of each structure but it."""
    from twin_nodes.app.build_inputs import Inputs
    from twin_nodes.app.build_steps import build_structures, build_tets
    from twin_nodes.core.anatomy.case_config import CaseConfig, StructureConfig, TetStep
    from twin_nodes.core.anatomy.distance_grid import DistanceGrid
    from twin_nodes.io.recipe import Recipe

    structures = tuple(StructureConfig(name=name, labels=(n,)) for n, name in enumerate(NAMES, start=1))
    recipe = Recipe(Path(), {}, CaseConfig(tets=TetStep(count=TETS)), structures)
    times = [time.perf_counter()]
    built, labels = build_structures(recipe, Inputs({}, volume, {}, [], ''))
    times.append(time.perf_counter())
    tets = build_tets(recipe, built, labels)
    times.append(time.perf_counter())
    grids = [DistanceGrid.from_surface(item.surface, GRID, 0.01) for item in built]
    times.append(time.perf_counter())
    assert tets is not None
    return {
        'seconds': times[-1] - times[0],
        'steps': np.diff(times).tolist(),
        'volumes': {item.label: item.surface.volume for item in built},
        'hausdorff': max(item.report.hausdorff for item in built),
        'triangles': sum(len(item.surface.triangles) for item in built),
        'tets': len(tets[0].tets),
        'tet_volume_error': tets[1]['volume_error'],
        'min_dihedral': tets[0].quality.min_dihedral,
        'grid_nodes': sum(grid.values.size for grid in grids),
    }


def peer(volume: LabelVolume) -> dict[str, Any]:
    """Marching cubes and distance transforms on the box of each structure; decimated and filled where that installs."""
    from scipy.ndimage import distance_transform_edt, find_objects, gaussian_filter
    from skimage.measure import marching_cubes

    times = [time.perf_counter()]
    volumes, triangles = {}, 0
    meshes = []
    boxes = find_objects(volume.labels)
    for label, box in enumerate(boxes, start=1):
        wide = tuple(slice(max(0, s.start - 4), s.stop + 4) for s in box)
        field = gaussian_filter((volume.labels[wide] == label).astype(np.float32), 0.8)
        level = min(0.5, 0.5 * float(field.max()))
        points, faces, _, _ = marching_cubes(np.pad(field, 1), level, spacing=SPACING)
        points, faces = _simplified(points, faces)
        a, b, c = (points[faces[:, corner]] for corner in range(3))
        volumes[label] = abs(float(np.sum(a * np.cross(b, c)) / 6.0))
        triangles += len(faces)
        meshes.append((points, faces))
    times.append(time.perf_counter())
    tets = _wild(*meshes[0])
    times.append(time.perf_counter())
    for label, box in enumerate(boxes, start=1):
        margin = [math.ceil(0.01 / step) for step in SPACING]
        wide = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margin, strict=True))
        inside = volume.labels[wide] == label
        (distance_transform_edt(~inside, sampling=SPACING) - distance_transform_edt(inside, sampling=SPACING)).astype(
            'f4'
        )
    times.append(time.perf_counter())
    return {
        'seconds': times[-1] - times[0],
        'steps': np.diff(times).tolist(),
        'volumes': volumes,
        'triangles': triangles,
        'tets': tets,
    }


def _simplified(points: Any, faces: Any) -> tuple[Any, Any]:
    try:
        from fast_simplification import simplify
    except ModuleNotFoundError:
        return points, faces
    return simplify(points, faces.astype(np.int32), 0.85) if len(faces) > 1000 else (points, faces)


def _wild(points: Any, faces: Any) -> int:
    """Fill with pytetwild, where it is installed and the mesh is small enough for it to end; 0 if not."""
    try:
        from pytetwild import tetrahedralize
    except ModuleNotFoundError:
        return 0
    _, tets = tetrahedralize(points.astype(np.float64), faces.astype(np.int32), edge_length_fac=0.05, optimize=False)[
        :2
    ]
    return len(tets)


def run(quick: bool) -> Iterator[dict[str, Any]]:
    """Run both by turns, each in a process of its own, and compare.

    Args:
        quick: 256 × 256 × 150 voxels, once, in place of the full volume three times.
    """
    shape, rounds = ((256, 256, 150), 1) if quick else ((512, 512, 300), 3)
    with tempfile.TemporaryDirectory() as folder:
        _process('ours', (64, 64, 38), Path(folder))  # compile
        ends = [(_process('ours', shape, Path(folder)), _process('peer', shape, Path(folder))) for _ in range(rounds)]
    own, other = (sorted((pair[n] for pair in ends), key=lambda end: end['seconds'])[rounds // 2] for n in range(2))
    truth = anatomy((64, 64, 38))[1]
    scale = (shape[0] / 64.0) ** 3
    worst = [max(abs(end['volumes'][str(n)] / (truth[n] * scale) - 1.0) for n in truth) for end in (own, other)]
    small = [abs(end['volumes']['6'] / float(np.prod(SPACING)) - 1.0) for end in (own, other)]
    with_tets = PEER if other['tets'] else f'{PEER}, without tetrahedra'
    ratio = own['seconds'] / other['seconds']
    yield vars(judge('build_s', own['seconds'], 's', at_most=60.0, peer=with_tets, ratio=ratio))
    mb = own['peak_mb'] / other['peak_mb']
    yield vars(judge('build_peak_mb', own['peak_mb'], 'MB', at_most=4000.0, peer=with_tets, ratio=mb))
    for name, seconds in zip(('surfaces', 'tets', 'grids'), own['steps'], strict=True):
        yield vars(judge(f'build_{name}_s', seconds, 's'))
    yield vars(judge('build_peer_s', other['seconds'], 's', peer=with_tets))
    yield from _accuracy(own, other, worst, small)


def _accuracy(
    own: dict[str, Any], other: dict[str, Any], worst: list[float], small: list[float]
) -> Iterator[dict[str, Any]]:
    ratio = worst[0] / worst[1]
    yield vars(judge('build_volume_error_percent', 100 * worst[0], '%', at_most=1.0, peer=PEER, ratio=ratio))
    ratio = small[0] / small[1]
    yield vars(judge('build_one_voxel_error_percent', 100 * small[0], '%', at_most=5.0, peer=PEER, ratio=ratio))
    yield vars(judge('build_hausdorff_mm', 1e3 * own['hausdorff'], 'mm', at_most=0.25e3 * min(SPACING)))
    ratio = own['triangles'] / other['triangles']
    yield vars(judge('build_triangles_count', own['triangles'], '', peer=PEER, ratio=ratio))
    yield vars(judge('build_tets_count', own['tets'], '', at_least=0.95 * TETS))
    yield vars(judge('build_tets_volume_error_percent', 100 * own['tet_volume_error'], '%'))
    yield vars(judge('build_tets_min_dihedral_deg', math.degrees(own['min_dihedral']), '°', at_least=10.7))


def _process(which: str, shape: tuple[int, int, int], folder: Path) -> dict[str, Any]:
    """Run one side in a process of its own, one thread, and return what it measured with its peak of memory."""
    output = folder / 'end.json'
    threads = {f'{name}_NUM_THREADS': '1' for name in ('OMP', 'OPENBLAS', 'MKL', 'NUMBA')}
    command = [sys.executable, '-m', __name__, which, *(str(size) for size in shape), str(output)]
    subprocess.run(command, env={**os.environ, **threads}, check=True, stdout=subprocess.DEVNULL)
    return dict(json.loads(output.read_text()))


def _main(which: str, *words: str) -> None:
    nx, ny, nz = (int(word) for word in words[:3])
    volume, _ = anatomy((nx, ny, nz))
    end = {'ours': ours, 'peer': peer}[which](volume)
    end['peak_mb'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    Path(words[3]).write_text(json.dumps(end))


if __name__ == '__main__':
    _main(*sys.argv[1:])
