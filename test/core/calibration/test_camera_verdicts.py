"""Each limit of a camera and of a tracked scope by itself: just below it nothing is said, above it the reason."""

import numpy as np
import pytest

from twin_nodes.core.calibration.camera_coverage import CameraCoverage
from twin_nodes.core.calibration.camera_intrinsics import CameraConfig
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_verdict import judge_camera
from twin_nodes.core.calibration.camera_views import LeftOut
from twin_nodes.core.calibration.scope_verdict import ScopeLimits, judge_scope
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import build_config

FOCAL = 1000.0
MATRIX = np.array([[FOCAL, 0.0, 320.0], [0.0, FOCAL, 240.0], [0.0, 0.0, 1.0]])
CAMERA = CameraModel(640, 480, MATRIX, np.zeros(5))
SEEN = CameraCoverage(0.9, 0.95, 0.6, 4, 0.1, 0.3, 2000)
CAMERA_LIMITS = build_config(
    CameraConfig,
    {'good_views': 10, 'min_tilt': 0.2, 'warn_focal_ratio': 0.01, 'refuse_focal_ratio': 0.05, 'warn_rms': 1.0,
     'refuse_rms': 5.0, 'refuse_outliers': 0.4},
)  # fmt: skip
SCOPE_LIMITS = build_config(
    ScopeLimits,
    {'good_frames': 8, 'warn_chain': 5.0, 'refuse_chain': 30.0, 'warn_position_sigma': 0.002,
     'refuse_position_sigma': 0.02, 'warn_noise_factor': 5.0, 'refuse_lever': 1.0, 'refuse_outliers': 0.4},
)  # fmt: skip


def out(count, reason='its poses were swapped'):
    return [LeftOut(str(number), reason) for number in range(count)]


def camera(*, share=0.001, rms=0.2, tilt=0.6, views=12, left_out=(), offered=12):
    covariance = np.diag([(share * FOCAL) ** 2, 1e-9, 1.0, 1.0, *[1e-6] * 5])
    coverage = CameraCoverage(SEEN.area, SEEN.reach, tilt, 4, SEEN.nearest, SEEN.farthest, SEEN.corners)
    return judge_camera(CAMERA, covariance, rms, coverage, views, left_out, offered, CAMERA_LIMITS)


def scope(*, chain=1.0, held=1.5, why='', sigma=1e-3, noise=1.0, frames=10, left_out=(), lever=0.3, shift=-0.005):
    covariance = np.diag([sigma**2 / 3.0] * 3 + [1e-6] * 3)
    return judge_scope(
        chain, held, why, covariance, noise, frames, left_out, SCOPE_LIMITS, lever=lever, shift=shift
    )  # fmt: skip


def test_what_keeps_all_limits_is_accepted_without_a_word():
    assert camera() == scope() == (Verdict.ACCEPT, ())
    assert scope(held=None, why='not asked for') == (Verdict.ACCEPT, ())


@pytest.mark.parametrize(
    ('judge', 'just_kept', 'broken', 'verdict', 'says'),
    [
        (camera, {'share': 0.0099}, {'share': 0.0101}, Verdict.WARN, 'focal length is known to 1.01% only'),
        (camera, {}, {'share': 0.051}, Verdict.REFUSE, 'focal length is known to 5.1% only, 5.0% is the limit'),
        (camera, {'rms': 0.99}, {'rms': 1.01}, Verdict.WARN, '1.01 px is above 1 px'),
        (camera, {}, {'rms': 5.01}, Verdict.REFUSE, '5.01 px is above 5 px'),
        (camera, {'tilt': 0.44}, {'tilt': 0.19}, Verdict.REFUSE, 'all views are frontal (tilt 11°'),
        (camera, {'views': 10, 'offered': 16}, {'views': 9, 'offered': 12}, Verdict.WARN, '9 views are few'),
        (camera, {'views': 12, 'offered': 20}, {'views': 12, 'offered': 21}, Verdict.REFUSE, '9 of 21 views had to'),
        (camera, {}, {'left_out': out(1)}, Verdict.WARN, '0: its poses were swapped'),
        (scope, {'chain': 4.9}, {'chain': 5.1}, Verdict.WARN, 'by the chain 5.1 px is above 5 px'),
        (scope, {'held': 4.9}, {'held': 5.1}, Verdict.WARN, 'by the chain 5.1 px is above 5 px'),
        (scope, {}, {'chain': 30.1}, Verdict.REFUSE, 'by the chain 30.1 px is above 30 px'),
        (scope, {'sigma': 0.0019}, {'sigma': 0.0021}, Verdict.WARN, 'known to 2.1 mm only'),
        (scope, {}, {'sigma': 0.0201}, Verdict.REFUSE, 'known to 20.1 mm only'),
        (scope, {'lever': 0.99}, {'lever': 1.01}, Verdict.REFUSE, '1010 mm from its marker, limit 1000 mm'),
        (scope, {'shift': 0.0}, {'shift': 0.005}, Verdict.WARN, 'are the sides swapped?'),
        (scope, {'frames': 8}, {'frames': 7}, Verdict.WARN, '7 pictures are few, 8 are better'),
        (scope, {'noise': 4.9}, {'noise': 5.1}, Verdict.WARN, '5.1 times the noise of the tracker'),
        (scope, {}, {'held': None, 'why': 'too few'}, Verdict.WARN, 'not tested on pictures left out: too few'),
        (scope, {}, {'frames': 12, 'left_out': out(9)}, Verdict.REFUSE, '9 of 21 pictures had to be left out'),
        (scope, {}, {'frames': 12, 'left_out': out(8)}, Verdict.WARN, '7: its poses were swapped'),
    ],
)
def test_a_limit_decides_and_says_why(judge, just_kept, broken, verdict, says):
    assert judge(**just_kept)[0] is Verdict.ACCEPT
    found, reasons = judge(**broken)
    assert found is verdict and any(says in reason for reason in reasons)
