"""tracker_node with a video and with image topics: what the images show is published, with their error."""

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from sensor_msgs.msg import CameraInfo, Image

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.simulate.marker_images import MarkerScene
from twin_nodes.core.simulate.marker_trial import FAMILY, trial_camera
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.visual.markers import single_tag
from twin_nodes.io.camera_info import write_camera_info
from twin_nodes.nodes.tracker_node import TrackerNode
from twin_nodes.ros.conversions import ns_to_stamp, pose_from, stamp_to_ns

SIZE = 0.04
START_NS = 2_000 * NANOSECONDS
COMMON = {'tracking__tools': ['drill'], 'tracking__device_names': ['tag_5'], 'visual__dictionary': FAMILY,
          'visual__tag_size': SIZE, 'tracking__clock__mode': 'device'}  # fmt: skip


def pose(number):
    return make_transform(rotation_exp([0.5, 0.2, 0.1]), [0.001 * number, 0.0, 0.3])


@pytest.fixture(scope='module')
def images():
    scene, rng = MarkerScene(trial_camera()), np.random.default_rng(0)
    return [scene.render([(single_tag(5, SIZE), pose(number))], rng, family=FAMILY) for number in range(12)]


@pytest.fixture
def film(tmp_path, images):
    write_camera_info(tmp_path / 'camera.yaml', trial_camera())
    folder = tmp_path / 'film'
    folder.mkdir()
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f'{number:02d}.png'), image)
    return folder, tmp_path / 'camera.yaml'


def test_a_video_is_published_at_the_stamps_of_its_images(start, probe, film):
    measured = probe.listen(PoseStamped, 'drill/measured_cp')
    filtered = probe.listen(PoseWithCovarianceStamped, 'drill/filtered_cp')
    node = start(TrackerNode, source='video', video__path=str(film[0]), video__rate_hz=30.0, video__start=2000.0,
                 video__loop=True, camera__file=str(film[1]), **COMMON)  # fmt: skip
    probe.until(lambda: len(measured) >= 8 and len(filtered) >= 8, node, what='poses of the video')
    for message in measured:
        elapsed = stamp_to_ns(message.header.stamp) - START_NS
        number = round(elapsed * 30 / NANOSECONDS)
        assert abs(elapsed - number * NANOSECONDS / 30) < 2
        truth = pose(number % 12)
        np.testing.assert_allclose(pose_from(message, frame='tracker').pose[:3, 3], truth[:3, 3], atol=5e-4)
    sigma = np.sqrt(np.diag(pose_from(filtered[0], frame='tracker').covariance))
    assert sigma[2] > 1.5 * sigma[0], 'the error along the line of sight is the larger one, as the corners say'
    probe.until_code('tracker: tool drill', 'OK', node)


def test_an_image_topic_with_camera_info(start, probe, images):
    measured = probe.listen(PoseStamped, 'drill/measured_cp')
    node = start(TrackerNode, source='camera', camera__topic='scope/image', camera__info_topic='scope/info', **COMMON)
    camera = trial_camera()
    info = CameraInfo(width=640, height=480, distortion_model='plumb_bob', d=[0.0] * 5, k=camera.matrix.ravel())
    sent = []

    def seen():
        number = len(sent) % 12
        image = Image(height=480, width=640, encoding='mono8', step=640, data=images[number].tobytes())
        image.header.stamp = ns_to_stamp(START_NS + len(sent) * NANOSECONDS // 30)
        sent.append(number)
        probe.say('scope/info', info)
        probe.say('scope/image', image)
        return len(measured) >= 3

    probe.until(seen, node, what='poses of the image topic')
    for message in measured:
        number = round((stamp_to_ns(message.header.stamp) - START_NS) * 30 / NANOSECONDS) % 12
        np.testing.assert_allclose(pose_from(message, frame='tracker').pose[:3, 3], pose(number)[:3, 3], atol=5e-4)


def test_images_before_any_camera_info_are_said(start, probe, images):
    node = start(TrackerNode, source='camera', camera__topic='scope/image', camera__info_topic='scope/info', **COMMON)
    image = Image(height=480, width=640, encoding='mono8', step=640, data=images[0].tobytes())
    image.header.stamp = ns_to_stamp(START_NS)

    def counted():
        probe.say('scope/image', image)
        return node._source.counters['CAMERA_UNUSABLE'] > 0

    probe.until(counted, node, what='the missing CameraInfo')


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({'source': 'video'}, 'video.path must be given'),
        ({'source': 'video', 'video__path': 'a.avi'}, 'camera.file must be given'),
        ({'source': 'camera', 'visual__tag_size': 0.0}, 'camera.bodies or visual.tag_size must be given'),
        ({'source': 'video', 'video__path': 'a.avi', 'camera__file': 'b', 'video__rate': 2.0,
          'tracking__clock__mode': 'synchronise'}, 'video.rate=2.0 needs'),
    ],
)  # fmt: skip
def test_settings_that_are_missing_are_named(start, settings, match):
    with pytest.raises(ConfigError, match=match):
        start(TrackerNode, **(COMMON | settings))
