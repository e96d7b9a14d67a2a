"""Images and cameras in messages, without cv_bridge."""

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from twin_nodes.core.errors import InputError
from twin_nodes.ros.images import bgr_of, camera_of, grey_of

GREY = (np.arange(12 * 16) % 200).astype(np.uint8).reshape(12, 16)


def message(data, encoding, width=16, height=12, pad=0):
    rows = np.ascontiguousarray(data).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, pad)), constant_values=255)
    return Image(height=height, width=width, encoding=encoding, step=rows.shape[1], data=rows.tobytes())


@pytest.mark.parametrize('pad', [0, 5])
@pytest.mark.parametrize(
    ('encoding', 'data'),
    [
        ('mono8', GREY),
        ('8UC1', GREY),
        ('rgb8', np.repeat(GREY[:, :, None], 3, axis=2)),
        ('bgr8', np.repeat(GREY[:, :, None], 3, axis=2)),
        ('bgra8', np.repeat(GREY[:, :, None], 4, axis=2)),
        ('mono16', GREY.astype(np.uint16) << 8),
        ('bayer_rggb8', np.full_like(GREY, 77)),
        ('yuv422_yuy2', np.stack([GREY, np.full_like(GREY, 128)], axis=2)),
    ],
)
def test_encodings_become_grey(encoding, data, pad):
    expected = np.full_like(GREY, 77) if 'bayer' in encoding else GREY
    np.testing.assert_allclose(grey_of(message(data, encoding, pad=pad)).astype(int), expected, atol=1)


def test_red_and_blue_are_not_swapped():
    red = np.zeros((12, 16, 3), np.uint8)
    red[..., 0] = 200
    assert grey_of(message(red, 'rgb8'))[0, 0] == round(0.299 * 200)
    assert grey_of(message(red, 'bgr8'))[0, 0] == round(0.114 * 200)


@pytest.mark.parametrize('encoding', ['rgb8', 'rgba8', 'bgr8', 'bgra8'])
def test_colours_become_blue_green_and_red(encoding):
    pixels = np.full((12, 16, len(encoding) - 1), 255, np.uint8)
    pixels[..., :3] = [10, 20, 30]
    blue, green, red = bgr_of(message(pixels, encoding))[3, 4]
    assert (red, green, blue) == ((10, 20, 30) if encoding.startswith('rgb') else (30, 20, 10))


def test_grey_and_compressed_images_become_three_colours():
    np.testing.assert_array_equal(bgr_of(message(GREY, 'mono8')), np.repeat(GREY[:, :, None], 3, axis=2))
    data = cv2.imencode('.png', np.full((12, 16, 3), (10, 20, 30), np.uint8))[1].tobytes()
    assert bgr_of(CompressedImage(format='png', data=data))[0, 0].tolist() == [10, 20, 30]


def test_compressed_images():
    data = cv2.imencode('.png', GREY)[1].tobytes()
    np.testing.assert_array_equal(grey_of(CompressedImage(format='png', data=data)), GREY)
    with pytest.raises(InputError, match='cannot be decoded'):
        grey_of(CompressedImage(format='jpeg', data=b'\xff\xd8nothing'))


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        ({'encoding': '32FC1'}, "encoding '32FC1' is none of"),
        ({'step': 3}, 'rows of at least 16'),
        ({'height': 13}, '16x13 px'),
        ({'width': 0}, '0x12 px'),
    ],
)
def test_images_that_contradict_themselves_are_refused(change, match):
    wrong = message(GREY, 'mono8')
    for key, value in change.items():
        setattr(wrong, key, value)
    with pytest.raises(InputError, match=match) as refused:
        grey_of(wrong)
    assert refused.value.code == 'IMAGE_UNUSABLE'


def info(**changes):
    made = CameraInfo(width=640, height=480, distortion_model='plumb_bob', d=[0.1, 0.0, 0.0, 0.0, 0.0],
                      k=[600.0, 0.0, 320.0, 0.0, 600.0, 240.0, 0.0, 0.0, 1.0])  # fmt: skip
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def test_camera_with_binning_and_region():
    plain = camera_of(info())
    assert (plain.width, plain.height) == (640, 480) and plain.distortion[0] == 0.1
    binned = camera_of(info(binning_x=2, binning_y=2))
    assert (binned.width, binned.matrix[0, 0], binned.matrix[0, 2]) == (320, 300.0, 160.0)
    cut = info()
    cut.roi.x_offset, cut.roi.width, cut.roi.height = 100, 200, 480
    assert camera_of(cut).matrix[0, 2] == 220.0 and camera_of(cut).width == 200


def test_a_camera_that_is_not_calibrated_is_refused():
    with pytest.raises(InputError, match='not calibrated'):
        camera_of(info(k=[0.0] * 9))
