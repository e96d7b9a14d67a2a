import numpy as np
import pytest

from twin_nodes.app.build import build
from twin_nodes.app.check import inspect
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.label_files import write_label_volume


@pytest.fixture
def case(tmp_path):
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[4:16, 4:16, 4:16] = 1
    write_label_volume(tmp_path / 'seg.nrrd', LabelVolume(labels, np.diag([0.001, 0.001, 0.001, 1.0])))
    build(tmp_path / 'seg.nrrd', output=tmp_path / 'case', options={'tets.count': 400, 'grid.spacing': 0.0}, json=True)
    return tmp_path / 'case'


def test_a_case_is_verified(case):
    assert inspect(case).startswith('case, good: 3 files as built; label_1, ')
    (case / 'tets.vtk').write_bytes((case / 'tets.vtk').read_bytes()[:-1])
    with pytest.raises(InputError, match=r'tets\.vtk is not what was built'):
        inspect(case)


def test_a_recipe_is_read_and_its_files_looked_for(case):
    recipe = case.parent / 'case.yaml'
    recipe.write_text('labels: seg.nrrd\nstructures:\n- {name: liver, labels: [1]}\n')
    assert inspect(recipe) == f'recipe, good: liver; type `twin build {recipe}`'
    recipe.write_text('labels: none.nrrd\n')
    with pytest.raises(InputError, match=r'none\.nrrd does not exist'):
        inspect(recipe)
    recipe.write_text('labels: seg.nrrd\ngird: {spacing: 0.001}\n')
    with pytest.raises(ConfigError, match=r"gird\.spacing'; did you mean 'grid\.spacing'"):
        inspect(recipe)


def test_tetrahedra_are_described(tmp_path):
    import meshio

    corners = np.array([[0, 0, 0], [30, 0, 0], [0, 30, 0], [0, 0, 30]], float)
    meshio.Mesh(corners, [('tetra', [[0, 1, 2, 3]])]).write(tmp_path / 'one.mesh')
    assert inspect(tmp_path / 'one.mesh').startswith('tetrahedra, good: 4 nodes, 1 elements, 4.5 ml when read in mm')


def test_tetrahedra_in_vtk_are_described_as_such(tmp_path):
    import meshio

    corners = np.array([[0, 0, 0], [30, 0, 0], [0, 30, 0], [0, 0, 30]], float)
    meshio.Mesh(corners, [('tetra', [[0, 1, 2, 3]])]).write(tmp_path / 'one.vtk')
    assert inspect(tmp_path / 'one.vtk').startswith('tetrahedra, good: 4 nodes, 1 elements')
    meshio.Mesh(corners, [('triangle', [[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])]).write(tmp_path / 'faces.vtk')
    assert inspect(tmp_path / 'faces.vtk').startswith('surface, good: 4 vertices, 4 triangles')
