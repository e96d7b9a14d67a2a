"""Images and cameras in messages: sensor_msgs Image, CompressedImage and CameraInfo, without cv_bridge."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.errors import InputError

CODE = 'IMAGE_UNUSABLE'
MAX_BYTES = 1 << 28
# encoding → channels, bytes per channel, how it becomes grey
_COLOURS = {
    'rgb8': (3, 1, 'COLOR_RGB2GRAY'), 'bgr8': (3, 1, 'COLOR_BGR2GRAY'),
    'rgba8': (4, 1, 'COLOR_RGBA2GRAY'), 'bgra8': (4, 1, 'COLOR_BGRA2GRAY'),
    'mono8': (1, 1, ''), '8uc1': (1, 1, ''), 'mono16': (1, 2, ''), '16uc1': (1, 2, ''),
    '8uc3': (3, 1, 'COLOR_BGR2GRAY'), '8uc4': (4, 1, 'COLOR_BGRA2GRAY'),
    'rgb16': (3, 2, 'COLOR_RGB2GRAY'), 'bgr16': (3, 2, 'COLOR_BGR2GRAY'),
    'bayer_rggb8': (1, 1, 'COLOR_BayerBG2GRAY'), 'bayer_bggr8': (1, 1, 'COLOR_BayerRG2GRAY'),
    'bayer_gbrg8': (1, 1, 'COLOR_BayerGR2GRAY'), 'bayer_grbg8': (1, 1, 'COLOR_BayerGB2GRAY'),
    'yuv422': (2, 1, 'COLOR_YUV2GRAY_UYVY'), 'uyvy': (2, 1, 'COLOR_YUV2GRAY_UYVY'),
    'yuv422_yuy2': (2, 1, 'COLOR_YUV2GRAY_YUY2'), 'yuyv': (2, 1, 'COLOR_YUV2GRAY_YUY2'),
}  # fmt: skip


def grey_of(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """Return the image of a message in grey, shape (h, w).

    Raises:
        InputError: IMAGE_UNUSABLE for an encoding, size or content that is not understood.
    """
    return _decompressed(message) if _is_compressed(message) else _raw(message)


def bgr_of(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """Return the image of a message in blue, green and red, as OpenCV has it, shape (h, w, 3).

    Raises:
        InputError: IMAGE_UNUSABLE for an encoding, size or content that is not understood.
    """
    return _decompressed(message, colour=True) if _is_compressed(message) else _raw(message, colour=True)


def _is_compressed(message: Any) -> bool:
    return not hasattr(message, 'encoding')


def camera_of(message: CameraInfo) -> CameraModel:
    """Return the camera of a message; binning and a region of interest are applied.

    Raises:
        InputError: CAMERA_UNUSABLE, also for a camera that is not calibrated (zeros).
    """
    matrix = np.array(message.k, float).reshape(3, 3)
    projection = np.array(message.p, float).reshape(3, 4)
    width, height = int(message.width), int(message.height)
    roi = message.roi
    if roi.width and roi.height and (roi.width, roi.height) != (width, height):
        width, height = int(roi.width), int(roi.height)
        shift = np.array([roi.x_offset, roi.y_offset], float)
        matrix[:2, 2] -= shift
        projection[:2, 2] -= shift * bool(projection.any())
    bins = np.array([max(message.binning_x, 1), max(message.binning_y, 1)], float)
    matrix[:2] /= bins[:, None]
    projection[:2] /= bins[:, None]
    rectification = np.array(message.r, float).reshape(3, 3)
    return CameraModel(
        int(width // bins[0]),
        int(height // bins[1]),
        matrix,
        np.array(message.d, float),
        message.distortion_model or 'plumb_bob',
        rectification if rectification.any() else np.eye(3),
        projection,
        str(message.header.frame_id),
    )


def _raw(message: Any, *, colour: bool = False) -> NDArray[np.uint8]:
    encoding = message.encoding.lower()
    if encoding not in _COLOURS:
        raise InputError(f'encoding {message.encoding!r} is none of {", ".join(_COLOURS)}', code=CODE)
    channels, depth, to_grey = _COLOURS[encoding]
    conversion = _to_bgr(to_grey) if colour else to_grey
    height, width, step = int(message.height), int(message.width), int(message.step)
    row = width * channels * depth
    if height <= 0 or width <= 0 or step < row or height * step > MAX_BYTES or len(message.data) < height * step:
        raise InputError(
            f'{width}x{height} px {message.encoding} in {len(message.data)} bytes with rows of {step} bytes: expected '
            f'rows of at least {row}',
            code=CODE,
        )
    data = np.frombuffer(message.data, np.uint8, count=height * step).reshape(height, step)[:, :row]
    pixels: Any = np.ascontiguousarray(data)
    if depth == 2:
        pixels = pixels.view('>u2' if message.is_bigendian else '<u2')
        # the upper eight bits: the range of 16 is that of the encoding, not of this image, or replays would differ
        pixels = (pixels >> 8).astype(np.uint8)
    pixels = pixels.reshape(height, width, channels) if channels > 1 else pixels.reshape(height, width)
    if conversion:
        import cv2

        pixels = cv2.cvtColor(pixels, getattr(cv2, conversion))
    return np.asarray(pixels, np.uint8)


def _to_bgr(to_grey: str) -> str:
    """The conversion of OpenCV to BGR beside the one to grey; '' for none."""
    if to_grey == 'COLOR_BGR2GRAY':
        return ''
    return to_grey.replace('2GRAY', '2BGR') if to_grey else 'COLOR_GRAY2BGR'


def _decompressed(message: Any, *, colour: bool = False) -> NDArray[np.uint8]:
    import cv2

    data = np.frombuffer(message.data, np.uint8)
    mode = cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE
    if 'compressedDepth' in message.format:
        raise InputError(f'format {message.format!r} is a depth image', code=CODE)
    try:
        image = cv2.imdecode(data, mode) if 0 < data.size <= MAX_BYTES else None
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f'compressed image ({message.format!r}, {data.size} bytes) cannot be decoded', code=CODE)
    return np.asarray(image, np.uint8)
