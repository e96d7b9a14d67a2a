"""The two solutions of a small flat tag, over time."""

import numpy as np
from visual_scenes import NOISY, tracker

from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.simulate.marker_images import MarkerScene
from twin_nodes.core.simulate.marker_trial import FAMILY, Passage, trial_camera
from twin_nodes.core.tracking.visual.ambiguity import Branch, BranchChooser
from twin_nodes.core.tracking.visual.config import VisualConfig
from twin_nodes.core.tracking.visual.markers import single_tag
from twin_nodes.core.tracking.visual.tracker import BodyPose

FRAME_NS = 33_333_333
COVARIANCE = np.diag([1e-8, 1e-8, 1e-7, 1e-4, 1e-4, 1e-6])


def branch(tilt, misfit, covariance=COVARIANCE):
    return Branch(make_transform(rotation_exp([tilt, 0.0, 0.0]), [0.0, 0.0, 0.5]), covariance, misfit)


def test_one_image_that_fits_both_alike_decides_nothing():
    choice = BranchChooser(VisualConfig()).choose(1, (branch(0.3, 1e-3), branch(-0.3, 1.1e-3)), 0.1)
    assert not choice.certain and 0.4 < choice.probability < 0.6


def test_a_solution_that_fits_much_better_is_taken_and_kept_through_images_that_do_not_tell():
    chooser = BranchChooser(VisualConfig())
    for number in range(3):
        assert chooser.choose(1 + number * FRAME_NS, (branch(0.3, 0.0), branch(-0.3, 4.0)), 0.1).number == 0
    for number in range(3, 15):  # now the order of the two changes by chance
        solutions = (branch(-0.3, 0.0), branch(0.3, 1e-3))
        choice = chooser.choose(1 + number * FRAME_NS, solutions, 0.1)
        assert choice.number == 1 and choice.certain


def test_the_solution_that_turns_wildly_loses():
    chooser = BranchChooser(VisualConfig())
    for number in range(40):
        wild = 0.3 * np.sign(np.sin(2.0 * number))  # jumps to and fro
        choice = chooser.choose(1 + number * FRAME_NS, (branch(wild, 0.0), branch(-0.7, 0.0)), 0.1)
    assert choice.number == 1 and choice.certain


def test_a_gap_forgets():
    chooser = BranchChooser(VisualConfig(memory=0.5))
    for number in range(5):
        chooser.choose(1 + number * FRAME_NS, (branch(0.3, 0.0), branch(-0.3, 4.0)), 0.1)
    assert not chooser.choose(10**10, (branch(0.3, 0.0), branch(-0.3, 0.0)), 0.1).certain


def test_solutions_that_are_one_within_their_noise_are_given_with_their_spread():
    wide = np.diag([1e-8, 1e-8, 1e-7, 4e-2, 4e-2, 1e-6])
    choice = BranchChooser(VisualConfig()).choose(1, (branch(0.1, 0.0, wide), branch(-0.1, 0.0, wide)), 0.1)
    assert choice.certain and choice.merged
    assert choice.covariance[3, 3] > wide[3, 3]


def test_a_passing_tag_flips_far_less_than_the_smaller_error_of_each_image():
    """27 px large, near frontal, where the smaller reprojection error of one image is the wrong one many times."""
    body = single_tag(3, 0.04)
    flips = least = 0
    for seed, tilt in ((0, 0.05), (2, 0.2), (0, 0.35)):
        rng = np.random.default_rng(seed)
        scene = MarkerScene(trial_camera(), NOISY)
        track = tracker(tag_size=0.04)
        least_track = tracker(tag_size=0.04, certainty=0.51, memory=0.011, lasting_error=0.001)  # each image on its own
        for stamp_ns, truth in Passage(seed, tilt, 0.9).poses(60):
            image = scene.render([(body, truth)], rng, family=FAMILY)
            flips += is_flipped(track.observe(stamp_ns, image), truth)
            least += is_flipped(least_track.observe(stamp_ns, image), truth)
    assert least >= 20
    assert flips <= 0.3 * least


def is_flipped(found, truth):
    for one in found.bodies:
        if isinstance(one, BodyPose) and one.second is not None:
            return turn(one.second[0], truth) < turn(one.pose, truth)
    return False


def turn(pose, truth):
    return np.linalg.norm(pose_error(pose, truth)[3:])
