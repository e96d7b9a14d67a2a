"""A small liver, held at its back, as `twin build` makes a case of it."""

import numpy as np

from twin_nodes.app.build import build
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.simulate.organ import organ
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.io.meshes import write_surface

RECIPE = """
structures:
  - {name: liver, file: liver.ply}
tets: {count: 700, structures: [liver]}
materials:
  - {structure: liver, young: 3000.0, poisson: 0.45}
boundary:
  - {name: back, kind: plane, point: [0.0, 0.06, 0.0], normal: [0.0, -1.0, 0.0]}
"""


LESION = np.array([0.02, -0.02, 0.01])


def build_liver(folder, points, *, lesion=False):
    """Build `folder`/case from a surface of so many points, with a lesion in it or without; return its folder."""
    write_surface(folder / 'liver.ply', make_surface('liver', *organ(points)))
    recipe = RECIPE
    if lesion:
        ball = superellipsoid(LESION, np.full(3, 0.008), exponent=1.0, rings=10)
        write_surface(folder / 'lesion.ply', make_surface('lesion', *ball))
        recipe = RECIPE.replace('tets:', '  - {name: lesion, file: lesion.ply}\ntets:')
    (folder / 'case.yaml').write_text(recipe)
    assert build(folder / 'case.yaml', output=folder / 'case', options={}) == 0
    return folder / 'case'
