"""`twin register surface`: from point files and from the sweep of a stylus, units said, refusals in words."""

import json

import numpy as np
import pytest

from twin_nodes.app.cli import main
from twin_nodes.app.offline_surface import read_surface_file, register_surface_files
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import inverse, make_transform, random_transform, rotation_exp, transform_points
from twin_nodes.core.simulate.organ import organ, organ_points, sample_organ
from twin_nodes.io.landmarks import write_landmarks
from twin_nodes.io.meshes import write_surface
from twin_nodes.io.points import read_points
from twin_nodes.io.results import read_result

SIGMA = 0.3e-3
TIP_MM = np.array([108.5, 7.7, 2.5])
TRUTH = random_transform(np.random.default_rng(1), max_distance=0.2)
PLACES = organ_points(np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [-1.0, 0, 0], [0, -0.6, 0.8]]))
NAMES = ('a', 'b', 'c', 'd', 'e')


@pytest.fixture
def liver(tmp_path):
    path = tmp_path / 'liver.ply'
    write_surface(path, make_surface('liver', *organ(4000)))
    return path


def swab(count=600, scales=(1.0, 1.0, 1.0), seed=2):
    rng = np.random.default_rng(seed)
    return transform_points(TRUTH, sample_organ(count, rng) * scales) + rng.normal(0.0, SIGMA, (count, 3))


def points_file(tmp_path, points, name='swab.csv'):
    np.savetxt(tmp_path / name, points, delimiter=',')
    return tmp_path / name


def missed(pose):
    return np.linalg.norm(transform_points(pose, PLACES) - transform_points(TRUTH, PLACES), axis=1).max()


@pytest.mark.parametrize('scale', [1.0, 1e3])
def test_from_points_of_either_unit(tmp_path, liver, scale):
    (tmp_path / 'targets.yaml').write_text('landmarks: {tumour: [0.01, 0.0, 0.02]}')
    report = register_surface_files(
        points_file(tmp_path, swab() * scale), liver, targets=tmp_path / 'targets.yaml', field=tmp_path / 'field.ply',
        output=tmp_path / 'result.yaml',
    )  # fmt: skip
    assert missed(report.result.patient_T_anatomy) < 0.3e-3
    assert ('millimetres' if scale > 1.0 else 'metres') in report.text and 'does not say its unit' in report.text
    stored = read_result(tmp_path / 'result.yaml', kind='registration', parent='patient', usable=True)
    np.testing.assert_allclose(stored.parent_T_child, report.result.patient_T_anatomy, atol=1e-9)
    assert 0.0 < stored.errors['tre_tumour_m'] < 0.5e-3 and stored.errors['points_count'] == 600.0
    assert len(read_points(tmp_path / 'field.ply').points) == len(read_surface_file(liver)[0].vertices)


def test_landmarks_start_and_hold_it(tmp_path, liver):
    rng = np.random.default_rng(3)
    write_landmarks(tmp_path / 'landmarks.yaml', dict(zip(NAMES, PLACES, strict=True)))
    touched = transform_points(TRUTH, PLACES) + rng.normal(0.0, 0.5e-3, PLACES.shape)
    write_landmarks(tmp_path / 'touched.yaml', dict(zip(NAMES, touched, strict=True)))
    report = register_surface_files(
        points_file(tmp_path, swab(60)), liver, unit='m', landmarks=tmp_path / 'landmarks.yaml',
        touched=tmp_path / 'touched.yaml',
    )  # fmt: skip
    assert missed(report.result.patient_T_anatomy) < 0.8e-3
    assert 'landmarks' in report.text and 0.0 < report.result.disagreement < 2e-3
    with pytest.raises(InputError, match='give the touched places'):
        register_surface_files(points_file(tmp_path, swab()), liver, unit='m', landmarks=tmp_path / 'landmarks.yaml')
    with pytest.raises(InputError, match='--landmarks'):
        register_surface_files(points_file(tmp_path, swab()), liver, unit='m', touched=tmp_path / 'touched.yaml')


def record(path, places, *, period_s=0.1):
    """Write a PLUS recording of a stylus whose tip is at places (n, 3) of the anatomy, and its configuration."""
    rng = np.random.default_rng(4)
    tracker_T_reference = random_transform(rng)
    stylus_T_tip = make_transform(np.eye(3), TIP_MM * 1e-3)
    lines = ['ObjectType = Image', 'NDims = 3']
    for index, place in enumerate(places):
        turn = rotation_exp([0.2 * np.sin(index / 50), 0.2 * np.cos(index / 70), 0.0])
        stylus = tracker_T_reference @ TRUTH @ make_transform(turn, place) @ inverse(stylus_T_tip)
        for name, pose in (('Reference', tracker_T_reference), ('Stylus', stylus)):
            scaled = pose.copy()
            scaled[:3, 3] *= 1e3
            text = ' '.join(f'{value:.9g}' for value in scaled.ravel())
            lines += [f'Seq_Frame{index:04d}_{name}ToTrackerTransform = {text}',
                      f'Seq_Frame{index:04d}_{name}ToTrackerTransformStatus = OK']  # fmt: skip
        lines.append(f'Seq_Frame{index:04d}_Timestamp = {100 + index * period_s:.6f}')
    path.write_text('\n'.join([*lines, 'ElementDataFile = LOCAL', '']))
    matrix = ' '.join(f'{value:.9g}' for value in make_transform(np.eye(3), TIP_MM).ravel())
    (path.parent / 'config.xml').write_text(
        f'<PlusConfiguration><Device SequenceFile="{path.name}"/><CoordinateDefinitions><Transform From="StylusTip" '
        f'To="Stylus" Matrix="{matrix}"/></CoordinateDefinitions><PhantomDefinition><Landmarks>'
        + ''.join(f'<Landmark Name="#{i}" Position="{i} {i * i} 0"/>' for i in range(4))
        + '</Landmarks></PhantomDefinition></PlusConfiguration>'
    )
    return path


def test_from_the_sweep_of_a_stylus_with_landmarks_touched_before(tmp_path, liver):
    rng = np.random.default_rng(5)
    write_landmarks(tmp_path / 'landmarks.yaml', dict(zip(NAMES, PLACES, strict=True)))
    touches = []
    for place in PLACES:
        touches += [np.linspace(place * 1.3, place, 5), np.tile(place, (30, 1)), np.linspace(place, place * 1.3, 5)]
    sweep = sample_organ(1200, rng)
    sweep = sweep[np.lexsort([np.round(sweep[:, 1], 2), np.round(sweep[:, 0], 2)])][:500]
    places = np.vstack([*touches, sweep]) + rng.normal(0.0, 0.1e-3, (200 + 500, 3))
    recording = record(tmp_path / 'sweep.igs.mha', places)
    report = register_surface_files(recording, liver, landmarks=tmp_path / 'landmarks.yaml', between=(20.0, 1e9))
    assert missed(report.result.patient_T_anatomy) < 0.5e-3, report.text
    assert 'landmarks:' in report.text
    with pytest.raises(InputError, match='no sample of Stylus'):
        register_surface_files(recording, liver, between=(1e6, 1e7))


def test_refusals_in_words(tmp_path, liver, capsys):
    for points, words in (
        (swab(scales=(1.0, 1.0, 0.8)), 'axis z of the swab looks a fifth too short'),
        (swab(scales=(-1.0, 1.0, 1.0)), 'mirrored'),
        (swab(scales=(1.15, 1.15, 1.15)), 'too large'),
    ):
        path = points_file(tmp_path, points)
        assert main(['register', 'surface', str(path), '--surface', str(liver), '--unit', 'm']) == 1
        out = capsys.readouterr().out
        assert words in out and 'refuse' in out
    with pytest.raises(InputError, match='neither metres nor millimetres') as failure:
        register_surface_files(points_file(tmp_path, swab() * 30.0), liver)
    assert failure.value.code == 'UNIT_SUSPECT'
    with pytest.raises(DegenerateGeometryError, match='10 surface points'):
        register_surface_files(points_file(tmp_path, swab(10)), liver)
    assert main(['register', 'surface', str(points_file(tmp_path, swab(10))), '--surface', str(liver)]) == 1
    assert 'swab more of the surface' in capsys.readouterr().err
    assert main(['register', 'surface', str(liver), '--surface', str(liver), '--unit', 'inch']) == 1
    with pytest.raises(InputError, match='leave out --tip'):
        register_surface_files(points_file(tmp_path, swab()), liver, device='Stylus')


def test_json_gives_figures_and_a_stored_start_is_taken(tmp_path, liver, capsys):
    path, result = points_file(tmp_path, swab()), tmp_path / 'result.yaml'
    assert main(['register', 'surface', str(path), '--surface', str(liver), '-o', str(result)]) == 0
    capsys.readouterr()
    assert main(['register', 'surface', str(path), '--surface', str(liver), '--start', str(result), '--json']) == 0
    figures = {line['figure']: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert figures['registration_usable']['value'] == 1.0 and figures['surface_rms_mm']['value'] < 0.5


def test_a_liver_as_scanned(shared_data, tmp_path):
    folder = shared_data / 'liver_synthetic_stereo' / 'synthetic_liver'
    report = register_surface_files(folder / 'liver-H07-reduced.xyz', folder / 'liver-H07.ply')
    assert str(report.result.verdict) == 'accept'
    np.testing.assert_allclose(report.result.patient_T_anatomy, np.eye(4), atol=1e-4)


def test_a_stored_registration_is_checked_with_swabs_and_touches(tmp_path, liver, capsys):
    result = tmp_path / 'result.yaml'
    register_surface_files(points_file(tmp_path, swab()), liver, output=result)
    good = [str(points_file(tmp_path, swab(200, seed=seed), f'good{seed}.csv')) for seed in (5, 6)]
    bad = [
        str(points_file(tmp_path, swab(200, seed=seed) + np.array([0.0, 0.002, 0.0]), f'bad{seed}.csv'))
        for seed in (7, 8, 9)
    ]
    words = ['register', 'check', str(result), '--surface', str(liver)]
    assert main([*words, *good]) == 0
    assert 'state               ok' in capsys.readouterr().out
    assert main([*words, *good, *bad]) == 1
    assert 'REGISTRATION_DRIFTED' in capsys.readouterr().out
    write_landmarks(tmp_path / 'landmarks.yaml', dict(zip(NAMES, PLACES, strict=True)))
    moved = transform_points(TRUTH, PLACES) + np.array([0.003, 0.0, 0.0])
    for name, places in (('still', moved - [0.003, 0.0, 0.0]), ('moved', moved)):
        write_landmarks(tmp_path / f'{name}.yaml', dict(zip(NAMES, places, strict=True)))
    words = ['register', 'check', str(result), '--landmarks', str(tmp_path / 'landmarks.yaml'), '--json', '--touched']
    for name, code in (('still', 0), ('moved', 1)):
        assert main([*words, str(tmp_path / f'{name}.yaml')]) == code
        assert json.loads(capsys.readouterr().out.splitlines()[0])['value'] == 1.0 - code
    assert main(['register', 'check', str(result)]) == 1
    assert 'nothing to check' in capsys.readouterr().err
