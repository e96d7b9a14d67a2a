import numpy as np
import pytest

from twin_nodes.app.cli import main
from twin_nodes.app.offline_pivot import calibrate_pivot
from twin_nodes.app.offline_points import register_landmarks
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import (
    exp,
    inverse,
    make_transform,
    quat_from_rotation,
    random_transform,
    rotation_exp,
    transform_points,
)
from twin_nodes.io.results import StoredResult, read_result, write_result

TIP_MM = np.array([108.5, 7.7, 2.5])
BLOCK_MM = np.array([[104, 5, 20], [104, 45, 20], [104, 45, 0], [104, -5, 0], [-34, 45, 15], [-34, -5, 20.0]])


def text_of(matrix_mm):
    return ' '.join(f'{value:.9g}' for value in matrix_mm.reshape(-1))


def in_mm(transform):
    scaled = transform.copy()
    scaled[:3, 3] *= 1e3
    return scaled


@pytest.fixture
def touched_phantom(tmp_path):
    """A stylus that touches six landmarks at 15 Hz and is rocked in each dimple, with its configuration."""
    rng = np.random.default_rng(5)
    tracker_T_reference, reference_T_phantom = random_transform(rng), random_transform(rng, max_distance=0.1)
    stylus_T_tip = make_transform(np.eye(3), TIP_MM * 1e-3)
    places = np.repeat(BLOCK_MM * 1e-3, 60, axis=0)
    blend = np.clip(np.arange(len(places)) % 60 - 45, 0, 15)[:, None] / 15.0
    places = places + blend * (np.vstack([places[60:], places[-60:]]) - places)
    lines = ['ObjectType = Image', 'NDims = 3']
    for index, place in enumerate(places):
        turn = rotation_exp([0.2 * np.sin(index / 5), 0.2 * np.cos(index / 7), 0.0])
        phantom_T_tip = make_transform(turn, place + rng.normal(0.0, 1e-4, 3))
        tracker_T_stylus = tracker_T_reference @ reference_T_phantom @ phantom_T_tip @ inverse(stylus_T_tip)
        start = f'Seq_Frame{index:04d}_'
        for name, pose in (('Reference', tracker_T_reference), ('Stylus', tracker_T_stylus)):
            lines.append(f'{start}{name}ToTrackerTransform = {text_of(in_mm(pose))}')
            lines.append(f'{start}{name}ToTrackerTransformStatus = OK')
        lines.append(f'{start}Timestamp = {100 + index / 15:.6f}')
    path = tmp_path / 'touched.igs.mha'
    path.write_text('\n'.join([*lines, 'ElementDataFile = LOCAL', '']))
    marks = ''.join(f'<Landmark Name="#{i}" Position="{x} {y} {z}"/>' for i, (x, y, z) in enumerate(BLOCK_MM, 1))
    (tmp_path / 'config.xml').write_text(
        '<PlusConfiguration><Device SequenceFile="touched.igs.mha"/><CoordinateDefinitions><Transform '
        f'From="StylusTip" To="Stylus" Matrix="{text_of(in_mm(stylus_T_tip))}"/></CoordinateDefinitions>'
        f'<PhantomDefinition><Landmarks>{marks}</Landmarks></PhantomDefinition></PlusConfiguration>'
    )
    return path, reference_T_phantom


def test_registers_a_simulated_phantom_against_truth(touched_phantom, tmp_path):
    path, truth = touched_phantom
    targets = tmp_path / 'targets.yaml'
    targets.write_text('landmarks:\n  nerve: [0.02, 0.01, 0.03]\n', encoding='utf-8')
    report = register_landmarks(path, targets=targets, output=tmp_path / 'registration.yaml')
    told = report.result.target_error(np.array([0.02, 0.01, 0.03]))
    assert report.stored.errors['tre_nerve_m'] == pytest.approx(told)
    assert f'nerve        expected error {told * 1e3:6.3f} mm' in report.text
    assert len(report.match.pairs) == 6
    # 45 samples of 0.1 mm per dwell and a way out of some tenths of a millimetre
    assert np.abs(report.result.patient_T_anatomy[:3, 3] - truth[:3, 3]).max() < 0.5e-3
    assert report.result.fre_rms < 0.3e-3
    assert '6 of 6 landmarks found' in report.text
    stored = read_result(tmp_path / 'registration.yaml', kind='registration')
    assert stored.data_sha256 == report.stored.data_sha256
    assert (stored.parent_frame, stored.child_frame) == ('reference', 'phantom')


def test_a_calibrated_tip_leaves_its_share_in_the_result(touched_phantom, tmp_path):
    """A tip that is off by so much moves the registration as the file says."""
    path, _ = touched_phantom
    off = np.array([3e-4, -2e-4, 4e-4])
    tips = [
        StoredResult('tool_tip', 'stylus', 'stylus_tip', make_transform(np.eye(3), TIP_MM * 1e-3 + by),
                     np.diag([9e-8] * 3 + [1e-6] * 3), {}, 'accept', '2026-01-31T12:00:00+00:00', tool='Stylus')
        for by in (np.zeros(3), off)
    ]  # fmt: skip
    right, wrong = (register_landmarks(path, tip=tip, output=tmp_path / 'r.yaml').stored for tip in tips)
    middle = BLOCK_MM.mean(axis=0) * 1e-3
    moved = transform_points(wrong.parent_T_child, middle) - transform_points(right.parent_T_child, middle)
    told = right.tip_share.effect @ off
    # the stylus is rocked by 0.2 rad in each dimple, the share is of how it was held in the middle of that
    lever = right.parent_T_child[:3, :3] @ middle
    np.testing.assert_allclose(told[:3] + np.cross(told[3:], lever), moved, atol=0.3 * np.linalg.norm(off))
    assert right.tool == 'stylus'
    np.testing.assert_array_equal(read_result(tmp_path / 'r.yaml').tip_share.tip, wrong.tip_share.tip)
    assert register_landmarks(path).stored.tip_share is None  # that of the configuration is no calibration of ours


def test_landmarks_of_a_file_need_no_configuration(touched_phantom, tmp_path, capsys):
    path, truth = touched_phantom
    path = path.rename(tmp_path / 'no_configuration_names_it.igs.mha')
    with pytest.raises(InputError, match='--landmarks FILE with --tip FILE'):
        register_landmarks(path)
    tip = tmp_path / 'tip.yaml'
    place, covariance = make_transform(np.eye(3), TIP_MM * 1e-3), np.diag([1e-8] * 3 + [1e-6] * 3)
    date = '2026-01-31T12:00:00+00:00'
    write_result(tip, StoredResult('tool_tip', 'stylus', 'stylus_tip', place, covariance, {}, 'accept', date))
    rows = [f'id,{-x},{-y},{z},M{at}' for at, (x, y, z) in enumerate(BLOCK_MM.tolist(), 1)]
    marks = tmp_path / 'marks.fcsv'
    marks.write_text('\n'.join(['# CoordinateSystem = RAS', '# columns = id,x,y,z,label', *rows]))
    out = tmp_path / 'registration.yaml'
    words = ['register', 'points', str(path), '--landmarks', str(marks), '--device', 'StylusToTracker',
             '--reference', 'ReferenceToTracker']  # fmt: skip
    assert main([*words, '--tip', str(tip), '-o', str(out)]) == 0
    assert '6 of 6 landmarks found' in capsys.readouterr().out
    stored = read_result(out, kind='registration')
    assert (stored.parent_frame, stored.child_frame) == ('reference', 'anatomy')
    assert np.abs(stored.parent_T_child[:3, 3] - truth[:3, 3]).max() < 0.5e-3
    assert main(words) == 1
    assert 'add --tip FILE' in capsys.readouterr().err


def pivoting(count=60):
    """Poses of a tool that pivots 1 m from its tracker, with 0.1 mm noise [m]."""
    rng = np.random.default_rng(3)
    rotations = rotation_exp(rng.uniform(-0.6, 0.6, (count, 3))) @ rotation_exp([0.4, -1.1, 0.8])
    return make_transform(rotations, [0.1, 0.2, -1.0] - rotations @ (TIP_MM * 1e-3) + rng.normal(0.0, 1e-4, (count, 3)))


def test_quaternions_in_another_order_are_told(tmp_path):
    path = tmp_path / 'pivot.txt'
    rows = [
        [at / 20, *pose[:3, 3], *quat_from_rotation(pose[:3, :3])[[3, 0, 1, 2]]] for at, pose in enumerate(pivoting())
    ]
    np.savetxt(path, rows, fmt='%.9f')
    try:
        said = ' '.join(calibrate_pivot(path).result.reasons)
    except DegenerateGeometryError as error:
        said = str(error)
    assert 'with quaternions read as w x y z the poses fit' in said
    path.write_text('# t x y z qw qx qy qz\n' + path.read_text())
    np.testing.assert_allclose(calibrate_pivot(path).result.tip_tool * 1e3, TIP_MM, atol=0.2)


def test_inverted_poses_are_doubted(tmp_path):
    """They pivot as well, about what is the tip: only the distances tell."""
    np.save(tmp_path / 'pivot.npy', [in_mm(inverse(pose)) for pose in pivoting()])
    result = calibrate_pivot(tmp_path / 'pivot.npy').result
    assert result.verdict == 'warn'
    assert any('inverted' in reason for reason in result.reasons)
    np.save(tmp_path / 'pivot.npy', [in_mm(pose) for pose in pivoting()])
    assert calibrate_pivot(tmp_path / 'pivot.npy').result.verdict == 'accept'


def test_too_few_landmarks_are_refused(touched_phantom):
    path, _ = touched_phantom
    text = path.read_text().splitlines()
    path.write_text('\n'.join([*text[: 2 + 5 * 100], 'ElementDataFile = LOCAL', '']))
    with pytest.raises(DegenerateGeometryError, match='at least 3 are needed'):
        register_landmarks(path)


def test_calibrates_a_folder_of_matrices_and_names_the_outlier(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / 'poses'
    folder.mkdir()
    for index in range(60):
        rotation = rotation_exp(rng.uniform(-0.5, 0.5, 3))
        position = np.array([0.1, 0.2, -1.0]) - rotation @ TIP_MM * 1e-3 + rng.normal(0.0, 1e-4, 3)
        position = position + (0.01 if index == 7 else 0.0)
        np.savetxt(folder / f'{10**18 + index * 10**8}.txt', in_mm(make_transform(rotation, position)))
    report = calibrate_pivot(folder, output=tmp_path / 'tip.yaml')
    assert 7 in report.result.outliers
    assert f'stamp {10**18 + 7 * 10**8}' in report.text
    np.testing.assert_allclose(read_result(tmp_path / 'tip.yaml').parent_T_child[:3, 3] * 1e3, TIP_MM, atol=0.2)


def test_pivots_in_the_frame_of_a_moving_reference(tmp_path):
    rng = np.random.default_rng(0)
    lines = ['ObjectType = Image', 'NDims = 3']
    for index in range(40):
        tracker_T_reference = exp(rng.normal(0.0, 0.2, 6))
        rotation = rotation_exp(rng.uniform(-0.5, 0.5, 3))
        reference_T_stylus = make_transform(rotation, -rotation @ TIP_MM * 1e-3)
        for name, pose in (
            ('Reference', tracker_T_reference),
            ('Stylus', tracker_T_reference @ reference_T_stylus),
        ):
            lines.append(f'Seq_Frame{index}_{name}ToTrackerTransform = {text_of(in_mm(pose))}')
        lines.append(f'Seq_Frame{index}_Timestamp = {index}')
    path = tmp_path / 'pivot.mha'
    path.write_text('\n'.join([*lines, 'ElementDataFile = LOCAL', '']))
    report = calibrate_pivot(path, reference='ReferenceToTracker')
    np.testing.assert_allclose(report.result.tip_tool * 1e3, TIP_MM, atol=1e-3)
    with pytest.raises(InputError, match='name the tool, one of'):
        calibrate_pivot(path)
    with pytest.raises(InputError, match="did you mean 'StylusToTracker'"):
        calibrate_pivot(path, device='StylusToTraker')


def test_real_landmarks(shared_data):
    folder = shared_data / 'plus_tracker' / 'TestImages'
    report = register_landmarks(folder / 'EightLandmarkPointsTrackedForPhantomRegistration.igs.mha')
    assert len(report.match.pairs) == 8
    assert report.match.missing == ()
    assert report.result.fre_rms <= 0.30e-3
    assert np.degrees(np.linalg.norm(report.truth_error[3:])) <= 0.1
    assert np.linalg.norm(report.truth_error[:3]) <= 0.2e-3
    assert report.truth_landmarks_rms <= 0.2e-3


def test_real_recording_without_the_stylus_says_why(shared_data):
    path = shared_data / 'plus_tracker' / 'TestImages' / 'NwirePhantomFreehand.igs.mha'
    with pytest.raises(InputError, match=r'StylusToTracker was never seen in 97 frames \(INVALID\)') as caught:
        calibrate_pivot(path, device='StylusToTracker')
    assert caught.value.code == 'TOOL_LOST'
