"""A small liver, held at its back, as `twin build` makes a case of it."""

from twin_nodes.app.build import build
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.simulate.organ import organ
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


def build_liver(folder, points):
    """Build `folder`/case from a surface of so many points; return its folder."""
    write_surface(folder / 'liver.ply', make_surface('liver', *organ(points)))
    (folder / 'case.yaml').write_text(RECIPE)
    assert build(folder / 'case.yaml', output=folder / 'case', options={}) == 0
    return folder / 'case'
