"""`twin calibrate camera`, `stereo` and `scope` on files: simulated, and the published recordings where they are."""

import json
import shutil

import numpy as np
import pytest
import yaml

from twin_nodes.app.cli import main
from twin_nodes.app.offline_camera import calibrate_stereo_files
from twin_nodes.app.offline_scope import calibrate_scope_files, read_scope_folder
from twin_nodes.app.offline_views import ViewSource, read_names, read_size
from twin_nodes.core.calibration.scope_calibration import ScopeConfig
from twin_nodes.core.calibration.scope_figures import frame_figures
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import inverse
from twin_nodes.core.simulate.camera_views import ENDOSCOPE, simulate_scope
from twin_nodes.io.camera_info import read_camera_info
from twin_nodes.io.results import read_result

SIZE = ViewSource(size=(1920, 1080))
CAMERAS = (ENDOSCOPE, ENDOSCOPE)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A recording of a tracked stereo camera, in the names and millimetres of scikit-surgery."""
    path = tmp_path_factory.mktemp('tracked')
    frames, ties = simulate_scope(np.random.default_rng(1), CAMERAS, count=9)
    for number, frame in enumerate(frames):
        for side, view in zip(('left', 'right'), frame.views, strict=True):
            np.savetxt(path / f'calib.{side}.image_points.{number}.txt', view.pixels)
            np.savetxt(path / f'calib.{side}.ids.{number}.txt', view.ids, fmt='%d')
            np.savetxt(path / f'calib.{side}.object_points.{number}.txt', view.points_board * 1e3)
        write_pose(path / f'calib.device_tracking.{number}.txt', frame.tracker_T_scope)
        write_pose(path / f'calib.calib_obj_tracking.{number}.txt', frame.tracker_T_marker)
    for side in ('left', 'right'):
        np.savetxt(path / f'calib.{side}.intrinsics.txt', ENDOSCOPE.matrix)
        np.savetxt(path / f'calib.{side}.distortion.txt', ENDOSCOPE.distortion[None])
    write_pose(path / 'calib.left.pattern2marker.txt', ties.marker_T_pattern)
    return path, ties


def write_pose(path, pose):
    pose = pose.copy()
    pose[:3, 3] *= 1e3
    np.savetxt(path, pose, fmt='%.10f')


def test_scope_from_a_folder(folder, tmp_path):
    path, ties = folder
    report = calibrate_scope_files(path, SIZE, ScopeConfig(held_out=2), output=tmp_path)
    assert np.linalg.norm(report.result.ties.scope_T_left[:3, 3] - ties.scope_T_left[:3, 3]) < 3e-3
    stored = read_result(tmp_path / 'hand_eye.yaml', kind='hand_eye')
    np.testing.assert_allclose(stored.parent_T_child, report.result.ties.scope_T_left, atol=1e-9)
    assert read_result(tmp_path / 'stereo.yaml').kind == 'stereo'
    assert read_result(tmp_path / 'pattern.yaml').kind == 'pattern'
    assert 'left out [px]' in report.text


def test_stereo_and_camera_commands_write_what_ros_reads(folder, tmp_path, capsys):
    path, _ = folder
    assert main(['calibrate', 'stereo', str(path), '--size', '1920x1080', '-o', str(tmp_path)]) == 0
    right = read_camera_info(tmp_path / 'right.yaml')
    assert right.baseline == pytest.approx(0.0048, abs=2e-4)
    assert yaml.safe_load((tmp_path / 'left.yaml').read_text())['camera_name'] == 'left'
    capsys.readouterr()
    words = [
        'calibrate',
        'camera',
        str(path),
        '--side',
        'left',
        '--size',
        '1920x1080',
        '--json',
        '-o',
        str(tmp_path / 'c.yaml'),
    ]
    assert main(words) == 0
    figures = {line['figure']: line['value'] for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert figures['focal_x_px'] == pytest.approx(1400.0, rel=0.01)
    assert figures['reprojection_px'] == pytest.approx(0.2 * np.sqrt(2), rel=0.2)
    assert read_camera_info(tmp_path / 'c.yaml').width == 1920


def rewritten(folder, target, pattern, change, fmt='%.12g'):
    """A copy of a folder whose matrices of a name are written in another way."""
    shutil.copytree(folder, target)
    for path in target.glob(pattern):
        np.savetxt(path, change(np.loadtxt(path)), fmt=fmt)
    return target


TRACKING = 'calib.*_tracking.*.txt'
METRES = np.array([[1.0, 1.0, 1.0, 1e-3]] * 3 + [[1.0] * 4])


@pytest.mark.parametrize(
    ('change', 'said'),
    [(np.transpose, 'column by column'), (lambda pose: pose * METRES, 'taken as metres'), (lambda pose: pose[:3], '')],
)
def test_poses_of_markers_written_in_other_ways(folder, tmp_path, change, said):
    path, _ = folder
    data = read_scope_folder(rewritten(path, tmp_path / 'other', TRACKING, change), SIZE)
    assert said in ' '.join(data.notes)
    for found, wanted in zip(data.frames, read_scope_folder(path, SIZE).frames, strict=True):
        np.testing.assert_allclose(found.tracker_T_scope, wanted.tracker_T_scope, atol=1e-9)
        np.testing.assert_allclose(found.tracker_T_marker, wanted.tracker_T_marker, atol=1e-9)


@pytest.mark.parametrize('lost', [np.full((4, 4), np.nan), np.zeros((4, 4)), np.eye(4)])
def test_a_picture_without_a_pose_is_left_out_and_named(folder, tmp_path, lost):
    path, _ = folder
    other = rewritten(path, tmp_path / 'other', 'calib.device_tracking.4.txt', lambda _: lost)
    data = read_scope_folder(other, SIZE)
    assert [frame.name for frame in data.frames] == [frame.name for frame in read_scope_folder(path, SIZE).frames
                                                     if frame.name != '4']  # fmt: skip
    assert any(out.name == '4' and 'device_tracking.4.txt holds no pose' in out.reason for out in data.left_out)


def test_inverted_poses_and_swapped_sides_are_told(folder, tmp_path):
    path, _ = folder
    turned = rewritten(path, tmp_path / 'turned', 'calib.device_tracking.*.txt', np.linalg.inv)
    try:
        result = calibrate_scope_files(turned, SIZE, ScopeConfig(held_out=1)).result
        said = ' '.join(result.reasons) if result.verdict == 'refuse' else ''
    except DegenerateGeometryError as error:
        said = str(error)
    assert 'inverted' in said or 'not their inverses' in said
    swapped = tmp_path / 'swapped'
    swapped.mkdir()
    for file in path.iterdir():
        name = file.name.replace('.left.', '.LEFT.').replace('.right.', '.left.')
        shutil.copy(file, swapped / name.replace('.LEFT.', '.right.'))
    result = calibrate_scope_files(swapped, SIZE, ScopeConfig(held_out=1)).result
    assert any('sides swapped' in reason for reason in result.reasons)


def test_a_board_in_another_unit_is_refused(folder, tmp_path):
    path, _ = folder
    other = rewritten(path, tmp_path / 'other', 'calib.*.object_points.*.txt', lambda points: points * 1e-3)
    with pytest.raises(InputError, match='mm across: give their --unit'):
        read_scope_folder(other, SIZE)


def test_scope_command_takes_camera_files_and_says_what_is_missing(folder, tmp_path, capsys):
    path, _ = folder
    words = ['calibrate', 'scope', str(path), '--size', '1920x1080', '--free-pattern', '--json']
    assert main(words) == 0
    assert 'chain_mean_px' in capsys.readouterr().out
    assert main([*words, '--right-camera', 'x.yaml']) == 1
    assert '--left-camera' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['camera', 'none'], 'no such folder'),
        (['camera', '.', '--columns', '9'], '--rows and --square-mm'),
        (['camera', '.', '--unit', 'inch'], 'mm, cm, m'),
        (['camera', '.', '--size', 'big'], '1920x1080'),
        (['camera', '.', '--model', 'pinhole'], 'plumb_bob'),
        (['stereo', 'none'], 'no such folder'),
        (['stereo', 'none', '--left-camera', 'a'], 'both'),
        (['scope', 'none'], 'no such folder'),
    ],
)
def test_failures_say_what_to_type(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(['calibrate', *words]) == 1
    assert message in capsys.readouterr().err


def test_names_of_files_from_yaml(tmp_path):
    path = tmp_path / 'names.yaml'
    path.write_text("pixels: '{side}/{n}.csv'\nscope: 'endo_{n}.txt'\n")
    assert read_names(path).scope == 'endo_{n}.txt'
    assert read_names(path).pattern == ''
    path.write_text('pixel: a\n')
    with pytest.raises(ConfigError, match="did you mean 'pixels'"):
        read_names(path)
    path.write_text('pixels: a.txt\n')
    with pytest.raises(ConfigError, match='number of the picture'):
        read_names(path)
    assert read_size('640X480') == (640, 480)


def test_a_picture_without_pose_is_named(folder, tmp_path):
    path, _ = folder
    for file in path.iterdir():
        if file.name != 'calib.device_tracking.3.txt':
            (tmp_path / file.name).write_bytes(file.read_bytes())
    data = read_scope_folder(tmp_path, SIZE)
    assert [out.name for out in data.left_out] == ['3']
    assert len(data.frames) == 8
    (tmp_path / 'calib.device_tracking.2.txt').write_text('1 2 3\n')
    with pytest.raises(InputError, match='4×4 pose'):
        read_scope_folder(tmp_path, SIZE)


def test_published_chain_is_reproduced_and_met(shared_data):
    source = shared_data / 'stereo_scope_handeye' / 'precalib' / 'precalib_base_data'
    data = read_scope_folder(source, ViewSource())
    published = [frame_figures(frame, data.cameras, data.published) for frame in data.frames]
    np.testing.assert_allclose([figure.chain_px[0] for figure in published], [2.8, 3.9, 1.4], atol=0.05)
    report = calibrate_scope_files(source, ViewSource())
    for ours, theirs in zip(report.result.figures, published, strict=True):
        assert ours.chain_px[0] <= theirs.chain_px[0]
        assert ours.chain_px[1] <= theirs.chain_px[1]
    held = np.mean([figure.chain_px for figure in report.result.held_out])
    assert held < np.mean([figure.chain_px for figure in published])
    assert all(figure.reconstruction_m < 4e-3 for figure in report.result.figures)
    assert np.linalg.norm(inverse(report.result.ties.scope_T_left)[:3, 3] - [-0.0144, 0.1621, -0.3371]) < 0.02


def test_published_stereo_set_is_met(shared_data):
    report = calibrate_stereo_files(shared_data / 'stereo_scope_handeye' / 'laparoscope_calibration', None, SIZE)
    result = report.result
    assert result.left_result.rms <= 0.585
    assert result.right_result.rms <= 0.615
    assert result.held_rms <= 0.885
    assert result.rms <= 0.65
    assert np.linalg.norm(result.held_right_T_left[:3, 3]) == pytest.approx(4.80e-3, abs=2e-5)
    assert result.left_result.camera.focal[0] == pytest.approx(2007.0, abs=1.0)
    assert result.right_result.camera.focal[0] == pytest.approx(2030.0, abs=1.0)
