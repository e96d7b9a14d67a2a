"""Cameras as other tools write them: the same camera from each, or a refusal."""

import io
import json
import re

import numpy as np
import pytest
from scipy.io import savemat

from twin_nodes.core.errors import ConfigError
from twin_nodes.io.camera_info import read_camera_info

K = np.array([[1012.5, 0.0, 330.2], [0.0, 1008.3, 251.7], [0.0, 0.0, 1.0]])
D = [-0.31, 0.12, 0.0011, -0.0007, 0.02]
ROWS = ', '.join(map(str, K.ravel().tolist()))
KALIBR = """cam0:
  camera_model: pinhole
  distortion_coeffs: [-0.31, 0.12, 0.0011, -0.0007]
  distortion_model: radtan
  intrinsics: [1012.5, 1008.3, 330.2, 251.7]
  resolution: [640, 480]
"""
MESSAGE = f"""header:
  frame_id: cam
height: 480
width: 640
distortion_model: plumb_bob
d: {D}
k: [{ROWS}]
r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
p: [1012.5, 0.0, 330.2, 0.0, 0.0, 1008.3, 251.7, 0.0, 0.0, 0.0, 1.0, 0.0]
"""
TEXTS = {
    'kalibr.yaml': KALIBR,
    'euroc.yaml': '%YAML:1.0\n---\n' + '\n'.join(
        line.strip().replace('radtan', 'radial-tangential').replace('distortion_coeffs', 'distortion_coefficients')
        for line in KALIBR.splitlines()[1:]),
    'message.yaml': MESSAGE,
    'two messages.yaml': f'{MESSAGE}---\n{MESSAGE}',
    'ros1.yaml': re.sub(r'^([dkrp]):', lambda match: match[0].upper(), MESSAGE, flags=re.M),
    'realsense.json': json.dumps({'width': 640, 'height': 480, 'fx': 1012.5, 'fy': 1008.3, 'ppx': 330.2, 'ppy': 251.7,
                                  'model': 'distortion.brown_conrady', 'coeffs': D}),
    'open3d.json': json.dumps({'width': 640, 'height': 480, 'intrinsic_matrix': K.T.ravel().tolist()}),
    'plain.json': json.dumps({'camera_matrix': K.tolist(), 'dist_coeffs': [D], 'image_size': [640, 480]}),
    'plain.yaml': f'camera_matrix: {K.tolist()}\ndist_coeff: [{D}]\nresolution: [640, 480]\n',
    'ost.txt': '# oST version 5.0 parameters\n[image]\n\nwidth\n640\n\nheight\n480\n\n[camera]\n\ncamera matrix\n'
               '1012.5 0.0 330.2\n0.0 1008.3 251.7\n0.0 0.0 1.0\n\ndistortion\n-0.31 0.12 0.0011 -0.0007 0.02\n\n'
               'rectification\n1 0 0\n0 1 0\n0 0 1\n\nprojection\n1012.5 0 330.2 0\n0 1008.3 251.7 0\n0 0 1 0\n',
    'cameras.txt': '# id model\n1 OPENCV 640 480 1012.5 1008.3 330.2 251.7 -0.31 0.12 0.0011 -0.0007\n',
}  # fmt: skip


@pytest.mark.parametrize('name', TEXTS)
def test_the_same_camera_from_each(tmp_path, name):
    path = tmp_path / name
    path.write_text(TEXTS[name])
    camera = read_camera_info(path)
    np.testing.assert_allclose(camera.matrix, K)
    assert (camera.width, camera.height, camera.model) == (640, 480, 'plumb_bob')
    held = 0 if name.startswith('open3d') else 4
    np.testing.assert_allclose(camera.distortion[:held], D[:held])


@pytest.mark.parametrize('text', ['1012.5 0 0\n0 1008.3 0\n330.2 251.7 1\n',
                                  '1012.5 0 330.2 0\n0 1008.3 251.7 0\n0 0 1 0\n',
                                  '1012,5;0;330,2\n0;1008,3;251,7\n0;0;1\n'])  # fmt: skip
def test_matrices_by_column_of_a_projection_and_with_decimal_commas(tmp_path, text):
    path = tmp_path / 'k.txt'
    path.write_text(text)
    np.testing.assert_allclose(read_camera_info(path, size=(640, 480)).matrix, K)


def test_arrays_of_numpy_and_matlab(tmp_path):
    np.savez(tmp_path / 'a.npz', mtx=K, dist=[D], rvecs=np.zeros((3, 3, 1)))
    matlab = K.copy()
    matlab[:2, 2] += 1.0  # whose first pixel is 1, 1
    stream = io.BytesIO()
    savemat(stream, {'cameraParams': {'IntrinsicMatrix': matlab.T, 'RadialDistortion': [D[0], D[1], D[4]],
                                      'TangentialDistortion': D[2:4], 'ImageSize': [480.0, 640.0]}})  # fmt: skip
    (tmp_path / 'a.mat').write_bytes(stream.getvalue())
    for camera in (read_camera_info(tmp_path / 'a.npz', size=(640, 480)), read_camera_info(tmp_path / 'a.mat')):
        np.testing.assert_allclose(camera.matrix, K)
        np.testing.assert_allclose(camera.distortion, D)
        assert (camera.width, camera.height) == (640, 480)


def test_two_cameras_of_a_chain_need_a_side(tmp_path):
    path = tmp_path / 'camchain.yaml'
    path.write_text(KALIBR + KALIBR.replace('cam0', 'cam1').replace('1012.5', '999.5'))
    with pytest.raises(ConfigError, match=r'2 cameras \(cam0, cam1\): name one, as camchain.yaml#left'):
        read_camera_info(path)
    assert read_camera_info(path, side='right').focal[0] == 999.5
    assert read_camera_info(f'{path}#left').focal[0] == 1012.5


@pytest.mark.parametrize(
    ('name', 'change', 'said'),
    [('kalibr.yaml', ('pinhole', 'omni'), "camera_model 'omni'"),
     ('kalibr.yaml', ('radtan', 'fov'), "'fov' is none of"),
     ('realsense.json', ('distortion.brown', 'distortion.inverse_brown'), 'from the image to the ray'),
     ('cameras.txt', ('-0.0007', ''), 'with 7 parameters'),
     ('ost.txt', ('0.0 0.0 1.0', ''), "6 numbers below 'camera matrix'")],
)  # fmt: skip
def test_lenses_that_are_not_known_are_refused(tmp_path, name, change, said):
    path = tmp_path / name
    path.write_text(TEXTS[name].replace(*change))
    with pytest.raises(ConfigError, match=said):
        read_camera_info(path)


def test_numbers_of_another_size_of_image_are_refused(tmp_path):
    path = tmp_path / 'k.txt'
    np.savetxt(path, K)
    with pytest.raises(ConfigError, match='that of an image of about 660x503 px, not 1920x1440 px'):
        read_camera_info(path, size=(1920, 1440))
    np.savetxt(path, np.diag([1 / 640, 1 / 480, 1.0]) @ K)
    with pytest.raises(ConfigError, match='parts of the width and height'):
        read_camera_info(path, size=(640, 480))


@pytest.mark.parametrize('data', [b'PK\x03\x04', b'', b'\x93NUMPY', b'MATLAB 5.0 MAT-file'])
def test_damaged_arrays_are_refused(tmp_path, data):
    for ending in ('npz', 'mat'):
        (tmp_path / f'a.{ending}').write_bytes(data)
        with pytest.raises(ConfigError, match=r'cannot be read|no 3×3 camera matrix'):
            read_camera_info(tmp_path / f'a.{ending}')
