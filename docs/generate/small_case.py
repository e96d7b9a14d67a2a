"""A small case with a reduced model, for nodes that do not start without one."""

import contextlib
import io
from pathlib import Path

import numpy as np

from twin_nodes.app.build import build
from twin_nodes.app.reduce import reduce_case
from twin_nodes.core.anatomy.elastic.reduced_patch import PatchConfig
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.simulate.organ import organ
from twin_nodes.io.case import read_case
from twin_nodes.io.meshes import write_surface

_RECIPE = """
structures:
  - {name: liver, file: liver.ply}
tets: {count: 400, structures: [liver]}
"""


def small_case(folder: Path) -> Path:
    """Return the folder of a case with a learned patch; made once in a folder."""
    case = folder / 'case'
    if not case.exists():
        write_surface(folder / 'liver.ply', make_surface('liver', *organ(500)))
        (folder / 'liver.yaml').write_text(_RECIPE)
        with contextlib.redirect_stdout(io.StringIO()):  # the page is written to standard output
            build(folder / 'liver.yaml', output=case, options={})
        tets = read_case(case).tets
        nodes = tets.nodes[tets.outer_nodes]
        place = tuple(float(value) for value in nodes[np.argmin(nodes[:, 1])])
        reduce_case(case, place, 'front', PatchConfig(reach=0.002, turn=0.0, drags=8, steps=1, modes=2))
    return case
