"""Videos and folders of images: every image once, at the instant at which it was taken."""

import cv2
import numpy as np
import pytest

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.video.frames import START_NS, Video


def write_video(path, count=6, rate=25.0, code='MJPG'):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (64, 48))
    assert writer.isOpened()
    for number in range(count):
        writer.write(np.full((48, 64, 3), 30 * number, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(('name', 'code'), [('a.avi', 'MJPG'), ('a.mp4', 'mp4v')])
def test_images_and_stamps_of_a_video(tmp_path, name, code):
    video = Video(write_video(tmp_path / name, code=code))
    frames = list(video.frames())
    assert video.size == (64, 48)
    assert [frame.stamp_ns - START_NS for frame in frames] == [40_000_000 * number for number in range(6)]
    assert [round(float(frame.image.mean()) / 30.0) for frame in frames] == list(range(6))
    assert [frame.stamp_ns for frame in video.frames()] == [frame.stamp_ns for frame in frames]


def test_a_given_rate_and_start_replace_those_of_the_file(tmp_path):
    video = Video(write_video(tmp_path / 'a.avi'), rate_hz=100.0, start_ns=5)
    assert [frame.stamp_ns for frame in video.frames()][:3] == [5, 10_000_005, 20_000_005]


def write_images(folder, names):
    for value, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((20, 30), 10 * value, np.uint8))
    return folder


def test_names_that_are_times_are_stamps(tmp_path):
    names = ['cam_1699999999.500000.png', 'cam_1700000000.040000.png', 'cam_1699999999.900000.png']
    frames = list(Video(write_images(tmp_path, names)).frames())
    assert [frame.stamp_ns for frame in frames] == [1699999999500000000, 1699999999900000000, 1700000000040000000]
    assert [int(frame.image[0, 0]) for frame in frames] == [0, 20, 10]


def test_names_without_times_need_a_rate_and_count_as_people_do(tmp_path):
    write_images(tmp_path, ['left10.png', 'left9.png', 'left1.png'])
    with pytest.raises(InputError, match='give their rate, such as --rate 30'):
        Video(tmp_path)
    frames = list(Video(tmp_path, rate_hz=10.0).frames())
    assert [int(frame.image[0, 0]) for frame in frames] == [20, 10, 0]
    assert frames[2].stamp_ns - frames[0].stamp_ns == 200_000_000


def test_a_broken_image_is_said_and_the_rest_goes_on(tmp_path):
    write_images(tmp_path, ['1.png', '2.png', '3.png'])
    (tmp_path / '2.png').write_bytes(b'\x89PNG broken')
    frames = list(Video(tmp_path, rate_hz=10.0).frames())
    assert [frame.fault for frame in frames] == ['', '2.png cannot be decoded', '']


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        (b'', 'is empty'),
        (b'no video at all' * 99, 'is a text; expected a video'),
        ('Verzögerung in ms\n'.encode() * 400, 'is a text; expected a video'),
        (bytes(range(256)) * 40, 'cannot be read as a video'),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, content, match):
    path = tmp_path / 'a.avi'
    path.write_bytes(content)
    with pytest.raises(InputError, match=match):
        Video(path)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match='does not exist'):
        Video(tmp_path / 'none.avi')
    with pytest.raises(InputError, match='holds no image'):
        Video(tmp_path, rate_hz=1.0)
    with pytest.raises(ConfigError, match='rate_hz=nan'):
        Video(tmp_path, rate_hz=float('nan'))
