"""`twin track` on real videos and on rendered ones."""

import csv
import json

import cv2
import numpy as np
import pytest

from twin_nodes.app.check import inspect
from twin_nodes.app.cli import main
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.simulate.marker_images import MarkerScene
from twin_nodes.core.simulate.marker_trial import FAMILY, trial_camera
from twin_nodes.core.tracking.visual.markers import single_tag
from twin_nodes.io.camera_info import write_camera_info

SIXTEEN = [1, 11, 31, 109, 208, 295, 304, 308, 560, 752, 757, 759, 860, 892, 962, 996]


def ran(capsys, *words):
    code = main(['track', *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def images_of(text):
    return [record for record in map(json.loads, text.splitlines()) if 'image' in record]


def test_one_tag_in_ten_of_ten_images(capsys, shared_data):
    code, out, _ = ran(capsys, shared_data / 'aruco_video' / 'output.avi', '--dictionary', '4x4_50', '--json')
    assert code == 0
    assert [image['ids'] for image in images_of(out)] == [[0]] * 10
    stamps = [image['stamp_ns'] for image in images_of(out)]
    np.testing.assert_allclose(np.diff(stamps), 1e8, atol=1e3)


def test_sixteen_patterns_and_two_bodies(capsys, shared_data):
    folder = shared_data / 'aruco_video'
    code, out, _ = ran(
        capsys, folder / 'multipattern.avi', '--dictionary', 'ARUCO_ORIGINAL', '--camera', folder / 'calibration.txt',
        '--body', folder / 'pointer.txt', '--body', folder / 'reference.txt', '--json',
    )  # fmt: skip
    assert code == 0
    images = images_of(out)
    # upstream asserts 16 patterns of the two bodies, and one that is on neither
    assert [tag for tag in images[0]['ids'] if tag != 1000] == SIXTEEN
    assert all(set(image['ids']) <= {*SIXTEEN, 1000} for image in images)
    for image in images:
        for body in image['bodies']:
            assert body['reprojection_px'] < 2.0
    places = np.array([image['bodies'][1]['position_m'] for image in images])
    assert np.linalg.norm(np.ptp(places, axis=0)) < 0.02  # both bodies are held still


def test_twelve_markers_whose_family_is_found(capsys, shared_data):
    code, out, _ = ran(capsys, shared_data / 'aruco_video' / '12markers.avi')
    assert code == 0
    assert 'image 0: ids 1 2 3 4 5 6 7 8 9 10 11 12\n' in out and '6X6_50: tags in 1 of 1' in out


def test_check_says_what_is_in_a_video(shared_data):
    text = inspect(shared_data / 'aruco_video' / 'output.avi')
    assert '10 images of 640x480 px' in text and 'tags of 4X4_50, in the first image: 0' in text


def test_a_calibration_that_is_none_is_refused(capsys, shared_data):
    folder = shared_data / 'aruco_video'
    code, _, err = ran(capsys, folder / 'output.avi', '--camera', folder / 'bad_calibration.txt', '--tag-size', 33)
    assert code == 1 and 'expected a 3×3 camera matrix' in err


@pytest.fixture
def filmed(tmp_path):
    """Images of a tag of 40 mm that moves along x by 5 mm an image, and the camera."""
    camera: CameraModel = trial_camera()
    write_camera_info(tmp_path / 'camera.yaml', camera)
    scene, rng = MarkerScene(camera), np.random.default_rng(0)
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in range(4):
        pose = make_transform(rotation_exp([0.5, 0.2, 0.1]), [0.005 * number, 0.0, 0.3])
        image = scene.render([(single_tag(5, 0.04), pose)], rng, family=FAMILY)
        cv2.imwrite(str(folder / f'{number}.png'), image)
    return folder, tmp_path / 'camera.yaml'


def test_poses_are_told_and_written(capsys, filmed, tmp_path):
    folder, camera = filmed
    output = tmp_path / 'poses.csv'
    code, out, _ = ran(capsys, folder, '--rate', 10, '--camera', camera, '--tag-size', 40, '--output', output)
    assert code == 0 and 'tag_5: 4 poses' in out
    rows = list(csv.DictReader(output.open()))
    np.testing.assert_allclose([float(row['x']) for row in rows], [0.0, 0.005, 0.01, 0.015], atol=2e-4)
    assert [row['body'] for row in rows] == ['tag_5'] * 4 and rows[0]['tags'] == '5'
    assert 0.0 < float(rows[0]['sigma_mm']) < 1.0


@pytest.mark.parametrize(
    ('words', 'match'),
    [
        (['--tag-size', 40], 'add --camera FILE'),
        (['--camera', 'CAMERA'], '--tag-size in mm or --body FILE'),
        (['--dictionary', '4x4_51'], 'did you mean'),
        (['--dictionary', '7x7_50'], 'finds some: --dictionary'),
        (['--camera', 'CAMERA', '--tag-size', 0.04], 'it is in mm, not in m'),
    ],
)
def test_what_is_missing_is_said(capsys, filmed, words, match):
    folder, camera = filmed
    words = [camera if word == 'CAMERA' else word for word in words]
    code, _, err = ran(capsys, folder, '--rate', 10, *words)
    assert code == 1 and match in err


@pytest.mark.parametrize(
    ('turn', 'said'), [(lambda image: image[:, ::-1], 'are mirrored'), (lambda image: 255 - image, 'white on black')]
)
def test_images_that_are_turned_over_are_told(capsys, filmed, turn, said):
    """A mirrored tag of 4x4 is one of another family now and then."""
    folder, _ = filmed
    for file in folder.iterdir():
        cv2.imwrite(str(file), turn(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)))
    code, _, err = ran(capsys, folder, '--rate', 10)
    assert code == 1 and said in err


def test_twelve_bits_in_sixteen(capsys, filmed):
    folder, camera = filmed
    for file in folder.iterdir():
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_GRAYSCALE).astype(np.uint16) << 4)
    code, out, _ = ran(capsys, folder, '--rate', 10, '--camera', camera, '--tag-size', 40)
    assert code == 0 and 'tag_5: 4 poses' in out
