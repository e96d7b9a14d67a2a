"""Visual tracking against rendered images with known truth, then fault by fault."""

import numpy as np
import pytest
from scipy.stats import chi2
from visual_scenes import CLEAN, NOISY, SIZE, cube, image_of, pose, tracker

from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.codes import CODES
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.simulate.marker_images import MarkerScene
from twin_nodes.core.simulate.marker_trial import FAMILY, START_NS, tilted_pose, trial_camera
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.visual.dictionaries import FAMILIES, cv_dictionary
from twin_nodes.core.tracking.visual.markers import CharucoBoard, MarkerBody, single_tag, square_tag
from twin_nodes.core.tracking.visual.tracker import BodyMissing, BodyPose

STAMP = START_NS


def only(found):
    (body,) = found.bodies
    return body


def offset_mm(result, truth):
    return 1e3 * float(np.linalg.norm(pose_error(result.pose, truth)[:3]))


@pytest.mark.parametrize('family', ['4X4_50', 'ARUCO_ORIGINAL', 'APRILTAG_16H5', 'APRILTAG_25H9', 'APRILTAG_36H10',
                                    'APRILTAG_36H11', '7X7_1000'])  # fmt: skip
def test_a_tag_of_each_family_is_where_it_is(family):
    body = MarkerBody('tool', {7: square_tag(0.04)}, dictionary=family)
    result = only(tracker(body).observe(STAMP, image_of((body, pose()))))
    assert isinstance(result, BodyPose) and result.tags == (7,)
    # a tenth of a pixel at 0.35 m and 600 px is 0.06 mm across, and times 0.35/0.04 along
    assert offset_mm(result, pose()) < 0.5
    assert result.reprojection < 0.1


def test_error_is_as_large_as_its_covariance_says():
    """Normalised error squared of 100 poses inside a 95 % interval, widened by 15 % for what is not pixel noise."""
    rng = np.random.default_rng(1)
    scene = MarkerScene(trial_camera(), NOISY)
    body = single_tag(3, 0.04)
    track = tracker(tag_size=0.04)
    squares = []
    for number in range(100):
        truth = tilted_pose(rng)
        result = only(track.observe(STAMP + number * NANOSECONDS, scene.render([(body, truth)], rng, family=FAMILY)))
        error = pose_error(result.pose, truth)
        squares.append(error @ np.linalg.solve(result.covariance, error))
    low, high = chi2.interval(0.95, 6 * len(squares)) / np.array(len(squares))
    assert 0.85 * low < np.mean(squares) < 1.15 * high


@pytest.mark.parametrize(
    ('model', 'distortion'),
    [
        ('plumb_bob', [-0.25, 0.08, 0.001, -0.001, 0.0]),
        ('rational_polynomial', [0.3, 0.1, 0.0, 0.0, 0.0, 0.5, 0.1, 0.0]),
        ('equidistant', [-0.02, 0.01, 0.0, 0.0]),
    ],
)
def test_lens_is_taken_out(model, distortion):
    camera = CameraModel(640, 480, trial_camera().matrix, np.array(distortion), model)
    truth = pose(0.1, -0.07, 0.35)  # far from the axis
    body = cube()
    result = only(tracker(body, camera=camera).observe(STAMP, image_of((body, truth), camera=camera)))
    assert isinstance(result, BodyPose)
    assert offset_mm(result, truth) < 0.5


def test_several_tags_are_one_pose_and_better_than_one():
    body, truth = cube(), pose(turn=(0.2, 0.1, 0.4))
    result = only(tracker(body).observe(STAMP, image_of((body, truth))))
    single = only(tracker(MarkerBody('one', {10: body.tags[10]})).observe(STAMP, image_of((body, truth))))
    assert set(result.tags) == {10, 11, 12}
    assert offset_mm(result, truth) < 0.3
    assert np.trace(result.covariance[3:, 3:]) < np.trace(single.covariance[3:, 3:])


def test_a_tag_in_the_wrong_place_is_left_out_and_named():
    true_body, truth = cube(), pose(turn=(0.2, 0.1, 0.4))
    extra = square_tag(SIZE) + np.array([0.0, 0.045, -0.04])
    printed = MarkerBody('cube', {**true_body.tags, 20: extra})
    said = MarkerBody('cube', {**true_body.tags, 20: extra + np.array([0.004, 0.0, 0.0])})
    found = tracker(said).observe(STAMP, image_of((printed, truth)))
    assert only(found).tags == (10, 11, 12)
    assert offset_mm(only(found), truth) < 0.3
    assert [(refusal.code, refusal.tag) for refusal in found.refusals] == [('MARKER_INCONSISTENT', 20)]


def test_two_tags_that_contradict_each_other_give_no_pose():
    true_body, truth = cube(), pose(turn=(0.2, 0.1, 0.4))
    printed = MarkerBody('two', {tag: true_body.tags[tag] for tag in (10, 11)})
    said = MarkerBody('two', {10: true_body.tags[10], 11: true_body.tags[11] + [0.02, 0.0, 0.0]})
    result = only(tracker(said).observe(STAMP, image_of((printed, truth))))
    assert isinstance(result, BodyMissing) and result.code == 'MARKER_REPROJECTION'
    assert 'limit max_reprojection=3.0 px' in result.reason


def test_a_charuco_board_half_hidden():
    board = MarkerBody('board', board=CharucoBoard(6, 5, 0.025, 0.018), dictionary='5X5_100')
    truth = make_transform(rotation_exp([0.4, -0.3, 0.1]), [-0.07, -0.05, 0.4])
    image = image_of((board, truth))
    whole = only(tracker(board).observe(STAMP, image))
    image[:, :300] = 128
    half = only(tracker(board).observe(STAMP, image))
    assert len(whole.tags) == 20 and 4 <= len(half.tags) < 20
    assert offset_mm(whole, truth) < 0.5 and offset_mm(half, truth) < 1.5


def said(found):
    return [result.code for result in (*found.refusals, *found.bodies) if not isinstance(result, BodyPose)]


@pytest.mark.parametrize(
    ('place', 'code'),
    [
        (pose(z=1.3), 'MARKER_TOO_SMALL'),
        (pose(z=0.2, turn=(1.25, 0.0, 0.0)), 'MARKER_GRAZING'),
    ],
)
def test_a_tag_that_is_too_small_or_too_flat_is_refused(place, code):
    body = MarkerBody('tool', {3: square_tag(0.04)})
    settings = {'max_view_angle': 1.0, 'min_side_px': 20.0}
    found = tracker(body, **settings).observe(STAMP, image_of((body, place), optics=CLEAN))
    assert said(found) == [code, code]
    assert 'limit' in only(found).reason


def test_an_id_that_is_there_twice_is_not_used():
    body = MarkerBody('tool', {3: square_tag(0.04)})
    found = tracker(body).observe(STAMP, image_of((body, pose(x=-0.06)), (body, pose(x=0.06))))
    assert said(found) == ['MARKER_DUPLICATE', 'MARKER_DUPLICATE']


def test_another_family_is_named():
    body = MarkerBody('tool', {3: square_tag(0.04)}, dictionary='5X5_50')
    track = tracker(MarkerBody('tool', {3: square_tag(0.04)}))
    image = image_of((body, pose()))
    refusals = [refusal for _ in range(8) for refusal in track.observe(STAMP, image).refusals]
    (refusal,) = refusals
    assert refusal.code == 'MARKER_DICTIONARY' and '5X5_1000 finds 3' in refusal.message


def test_tags_of_no_body_are_counted_or_stand_alone():
    body = MarkerBody('tool', {3: square_tag(0.04)})
    image = image_of((body, pose(x=-0.06)), (single_tag(4, 0.04), pose(x=0.06)))
    strict = tracker(body)
    assert said(strict.observe(STAMP, image)) == ['MARKER_UNKNOWN'] and strict.counts['MARKER_UNKNOWN'] == 1
    loose = tracker(body, tag_size=0.04)
    assert [result.body for result in loose.observe(STAMP, image).bodies] == ['tool', 'tag_4']


def test_no_tag_is_a_lost_body():
    result = only(tracker(cube()).observe(STAMP, image_of()))
    assert isinstance(result, BodyMissing) and result.code == 'TOOL_LOST'


@pytest.mark.parametrize('image', [np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640)), np.zeros((9, 9), np.uint8)])
def test_an_image_of_another_kind_or_size_is_refused(image):
    with pytest.raises(InputError, match='image of') as refused:
        tracker(cube()).observe(STAMP, image)
    assert refused.value.code == 'IMAGE_UNUSABLE'


def test_same_images_same_poses():
    body = cube()
    images = [image_of((body, pose(x=0.002 * number)), seed=number) for number in range(3)]

    def play():
        track = tracker(body)
        return [only(track.observe(STAMP + number, image)).pose.tobytes() for number, image in enumerate(images)]

    assert play() == play()


@pytest.mark.parametrize(
    ('bodies', 'settings', 'match'),
    [
        ([], {}, 'nothing to look for'),
        ([cube(), cube()], {}, "two bodies are named 'cube'"),
        ([cube('a'), cube('b')], {}, "tag 10 of APRILTAG_36H11 is on body 'a' and on 'b'"),
        ([cube(first=600)], {}, 'has the ids 0 to 586, not 600'),
        ([cube()], {'dictionary': '4X4_51'}, 'did you mean'),
    ],
)
def test_what_cannot_be_looked_for_is_refused(bodies, settings, match):
    with pytest.raises(ConfigError, match=match):
        tracker(*bodies, **settings)


@pytest.mark.parametrize(
    ('corners', 'match'),
    [
        (square_tag(0.04)[[0, 2, 1, 3]], 'square, in order'),
        (square_tag(0.04) * [1.0, 0.5, 1.0], 'sides of'),
        (square_tag(0.04) + np.nan, 'NaN'),
        (square_tag(0.04)[:3], 'expected \\(4, 3\\)'),
    ],
)
def test_corners_that_are_no_square_are_refused(corners, match):
    with pytest.raises(InputError, match=match):
        MarkerBody('tool', {3: corners})


def test_every_family_has_a_dictionary_and_every_code_an_entry():
    assert all(len(cv_dictionary(family).bytesList) for family in FAMILIES)
    assert {'MARKER_AMBIGUOUS', 'MARKER_BEHIND', 'IMAGE_UNUSABLE'} <= set(CODES)
