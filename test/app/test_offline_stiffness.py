"""`twin calibrate stiffness`: a truth that is seen is found again; what is wrong with a recipe is said."""

import json

import numpy as np
import pytest
import yaml
from liver_case import build_liver

from twin_nodes.app import cli
from twin_nodes.app.offline_stiffness import calibrate_stiffness
from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.nonrigid.compliance import ComplianceConfig
from twin_nodes.core.anatomy.session_body import make_body
from twin_nodes.core.anatomy.session_config import AnatomySessionConfig, GraspConfig, TissueConfig
from twin_nodes.core.anatomy.session_grasp import take
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.io.case import read_case

FACTOR = 1.8


@pytest.fixture(scope='module')
def seen(tmp_path_factory):
    """A folder with a case, and what is seen of a liver 1.8 times as stiff that is pulled by 15 mm."""
    folder = tmp_path_factory.mktemp('stiffness')
    build_liver(folder, 1200)
    case, rng = read_case(folder / 'case'), np.random.default_rng(5)
    tissue = TissueConfig(fixed=('back',))
    few = ComplianceConfig(patches=8, inner_patches=0, modes=6)
    body = make_body(case.tets, case.materials, case.regions, AnatomySessionConfig(tissue=tissue, compliance=few))
    mesh, outer = body.model.mesh, body.model.mesh.outer_nodes
    front = mesh.nodes[outer[np.argmin(mesh.nodes[outer, 1])]]
    nodes = take(mesh.nodes, outer, make_transform(np.eye(3), front), body.held, GraspConfig()).nodes
    way = np.array([0.0, -0.015, 0.004])
    truth = body.model.with_materials(NeoHookean(FACTOR * 3000.0, 0.45))
    solution = truth.solve(Loads(nodes, mesh.nodes[nodes] + way))
    assert solution.is_converged
    force = -truth.force(solution.positions)[nodes].sum(axis=0) + rng.normal(0.0, 0.02, 3)
    middles = mesh.nodes[mesh.outer_faces].mean(axis=1)
    faces = mesh.outer_faces[middles[:, 1] < np.quantile(middles[:, 1], 0.4)]
    points = np.einsum(
        'ka,kai->ki', rng.dirichlet(np.ones(3), 600), solution.positions[faces[rng.integers(len(faces), size=600)]]
    )
    points += rng.normal(0.0, 0.0005, points.shape)
    np.savetxt(folder / 'seen.csv', 1e3 * points, delimiter=',', header='x_mm,y_mm,z_mm', comments='')
    recipe = {
        'case': 'case',
        'fixed': ['back'],
        'states': [
            {
                'points': 'seen.csv', 'unit': 'mm', 'sigma': 0.0005,
                'grasps': [
                    {'place': front.tolist(), 'to': (front + way).tolist(), 'force': force.tolist(),
                     'force_sigma': 0.02},
                ],
            }
        ],
    }  # fmt: skip
    (folder / 'seen.yaml').write_text(yaml.safe_dump(recipe))
    return folder, recipe


def test_the_stiffness_that_was_seen_is_found_and_stored(seen, tmp_path, capsys):
    folder, _ = seen
    output = tmp_path / 'stiffness.yaml'
    assert cli.main(['calibrate', 'stiffness', str(folder / 'seen.yaml'), '--json', '-o', str(output)]) == 0
    figures = {row['figure']: row['value'] for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert figures['liver_factor_low'] < FACTOR < figures['liver_factor_high']
    assert figures['liver_factor'] == pytest.approx(FACTOR, rel=0.15)
    assert figures['is_absolute'] == 1.0
    stored = yaml.safe_load(output.read_text())
    assert stored['kind'] == 'stiffness' and [row['name'] for row in stored['stiffness']] == ['liver', 'boundary']
    assert stored['stiffness'][0]['young_pa'] == pytest.approx(3000.0 * figures['liver_factor'], rel=1e-4)


def written(folder, recipe, name='other.yaml'):
    (folder / name).write_text(yaml.safe_dump(recipe))
    return folder / name


def test_without_a_force_only_ratios_are_known_and_it_is_said(seen):
    folder, recipe = seen
    state = {**recipe['states'][0], 'grasps': [dict(recipe['states'][0]['grasps'][0])]}
    del state['grasps'][0]['force'], state['grasps'][0]['force_sigma']
    report = calibrate_stiffness(written(folder, {**recipe, 'states': [state]}))
    assert not report.estimate.is_absolute and 'only ratios' in report.text and 'Young' not in report.text


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        ({'stats': []}, "no key 'stats'.*states"),
        ({'states': []}, 'states must list'),
        ({'fixed': ['front']}, "no region 'front'"),
        ({'case': ''}, 'case is missing'),
        ({'states': [{'points': 'seen.csv', 'unit': 'inch'}]}, 'does not say its unit'),
        ({'states': [{'grasps': [{'place': [0, 0, 0]}]}]}, 'to=None must be three numbers'),
        ({'states': [{'sigma': 0.0}]}, 'sigma=0 m must be above 0'),
    ],
    ids=['key', 'states', 'region', 'case', 'unit', 'grasp', 'sigma'],
)
def test_a_wrong_recipe_is_refused_in_one_line(seen, change, match):
    folder, recipe = seen
    with pytest.raises(ConfigError, match=match):
        calibrate_stiffness(written(folder, {**recipe, **change}))


def test_points_of_something_else_are_refused(seen):
    folder, recipe = seen
    state = {**recipe['states'][0], 'unit': 'm'}
    with pytest.raises(InputError, match='mm from the organ') as error:
        calibrate_stiffness(written(folder, {**recipe, 'states': [state]}))
    assert error.value.code == 'STIFFNESS_REFUSED'
    with pytest.raises(InputError, match='nothing was seen'):
        calibrate_stiffness(written(folder, {**recipe, 'states': [{'pressure': 100.0}]}))
