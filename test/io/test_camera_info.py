"""Camera files: the YAML of ROS to the letter, OpenCV's formats, text matrices, and what is refused."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml

from twin_nodes.core.calibration.stereo_geometry import rectified
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.simulate.camera_views import ENDOSCOPE, RIGHT_T_LEFT
from twin_nodes.io.camera_info import camera_info_text, read_camera_info, write_camera_info


def same(first, second):
    for field in ('matrix', 'distortion', 'rectification', 'projection'):
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field))
    assert (first.width, first.height, first.model) == (second.width, second.height, second.model)


def test_what_is_written_is_read(tmp_path):
    _, right = rectified(ENDOSCOPE, ENDOSCOPE, RIGHT_T_LEFT)
    write_camera_info(tmp_path / 'right.yaml', right)
    found = read_camera_info(tmp_path / 'right.yaml')
    same(found, right)
    assert found.name == 'left'
    assert found.baseline == pytest.approx(np.linalg.norm(RIGHT_T_LEFT[:3, 3]))


def test_keys_and_layout_are_those_of_ros(tmp_path):
    document = yaml.safe_load(camera_info_text(ENDOSCOPE))
    assert list(document) == [
        'image_width', 'image_height', 'camera_name', 'camera_matrix', 'distortion_model', 'distortion_coefficients',
        'rectification_matrix', 'projection_matrix',
    ]  # fmt: skip
    assert document['camera_matrix'].keys() == {'rows', 'cols', 'data'}
    assert (document['distortion_coefficients']['rows'], document['distortion_coefficients']['cols']) == (1, 5)
    assert len(document['projection_matrix']['data']) == 12
    assert all(isinstance(value, float) for value in document['camera_matrix']['data'])


def test_a_file_of_camera_calibration_parsers_is_read(tmp_path):
    path = tmp_path / 'head_camera.yaml'
    path.write_text("""image_width: 640
image_height: 480
camera_name: head_camera
camera_matrix:
  rows: 3
  cols: 3
  data: [500.5, 0, 320, 0, 501.25, 240, 0, 0, 1]
distortion_model: rational_polynomial
distortion_coefficients:
  rows: 1
  cols: 8
  data: [0.1, 0.2, 0, 0, 0.01, 0.02, 0.03, 0.04]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [500.5, 0, 320, 0, 0, 501.25, 240, 0, 0, 0, 1, 0]
""")
    found = read_camera_info(path)
    assert (found.width, found.name, found.model, found.distortion[7]) == (
        640,
        'head_camera',
        'rational_polynomial',
        0.04,
    )


@pytest.mark.parametrize('ending', ['yml', 'xml', 'json'])
def test_opencv_storage_is_read(tmp_path, ending):
    path = tmp_path / f'camera.{ending}'
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write('image_width', 1920)
    storage.write('image_height', 1080)
    storage.write('camera_matrix', ENDOSCOPE.matrix)
    storage.write('distortion_coefficients', ENDOSCOPE.distortion[:, None])
    storage.release()
    same(read_camera_info(path), replace(ENDOSCOPE, name=''))


def test_a_stereo_pair_of_opencv_needs_a_side(tmp_path):
    path = tmp_path / 'intrinsics.yml'
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for number, scale in (('1', 1.0), ('2', 1.1)):
        storage.write(f'M{number}', np.diag([1000.0 * scale, 1000.0 * scale, 1.0]))
        storage.write(f'D{number}', np.zeros((1, 14)))
    storage.release()
    with pytest.raises(ConfigError, match=r'name one side, as intrinsics\.yml#left'):
        read_camera_info(path, size=(640, 480))
    assert read_camera_info(path, size=(640, 480), side='right').focal[0] == pytest.approx(1100.0)


def test_text_matrices_find_their_distortion(tmp_path):
    np.savetxt(tmp_path / 'calib.left.intrinsics.txt', ENDOSCOPE.matrix)
    np.savetxt(tmp_path / 'calib.left.distortion.txt', ENDOSCOPE.distortion[None])
    found = read_camera_info(tmp_path / 'calib.left.intrinsics.txt', size=(1920, 1080))
    np.testing.assert_allclose(found.distortion, ENDOSCOPE.distortion)
    with pytest.raises(ConfigError, match='--size'):
        read_camera_info(tmp_path / 'calib.left.intrinsics.txt')


def test_another_image_size_is_refused(tmp_path):
    write_camera_info(tmp_path / 'a.yaml', ENDOSCOPE)
    with pytest.raises(ConfigError, match='1920x1080 px, not 640x480'):
        read_camera_info(tmp_path / 'a.yaml', size=(640, 480))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'expected the camera YAML'),
        (b'image_width: 3', "'image_height' is missing"),
        (b'\xff\xfe\x00', 'no text'),
        (b'%YAML:1.0\n---\nfoo: [', 'FileStorage'),
        (b'1 2 3\n4 5 nan\n7 8 9', 'NaN'),
        (b'1 2\n3 4\n', '2x2 numbers'),
        (b'a: [', 'not readable as YAML'),
    ],
)
def test_files_that_hold_no_camera_are_refused(tmp_path, content, message):
    path = tmp_path / 'camera'
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_camera_info(path, size=(640, 480))


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('image_width: 1920', 'image_width: 0', 'image width 0'),
        ('image_width: 1920', 'image_width: wide', 'whole number'),
        ('plumb_bob', 'plumb', "did you mean 'plumb_bob'"),
        ('data: [1400.0', 'data: [.nan', 'NaN'),
        ('data: [1400.0', 'data: [0.0', 'not calibrated'),
        ('cols: 5', 'cols: 4', '5 values for 1x4'),
    ],
)
def test_wrong_values_are_named(tmp_path, old, new, message):
    text = camera_info_text(ENDOSCOPE)
    assert old in text
    (tmp_path / 'a.yaml').write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        read_camera_info(tmp_path / 'a.yaml')


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match='cannot be read'):
        read_camera_info(tmp_path / 'none.yaml')
