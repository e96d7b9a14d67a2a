"""The figures of the liver demo: what they say of a good run, a bad one, and of no run at all."""

from types import SimpleNamespace

import numpy as np

from twin_nodes.app.demo_liver import LiverObserver, score_liver
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp, transform_points
from twin_nodes.core.simulate.liver_scene import DURATION, LESIONS
from twin_nodes.core.stamps import NANOSECONDS

START_NS = 10**18
PATIENT_T_ANATOMY = make_transform(rotation_exp([0.3, -1.1, 0.7]), [0.06, -0.04, -0.08])
REST = np.array(list(LESIONS.values()))


def observed(*, off=0.0005, sigma=0.001, rate=30):
    """A run in which the lesions moved by 6 mm and the twin missed them by `off`."""
    seen = LiverObserver(SimpleNamespace(create_subscription=lambda *args: None))
    seen.start_ns, seen.patient_T_anatomy, seen.newton = START_NS, PATIENT_T_ANATOMY, 0.3
    covariances = np.repeat((sigma**2 * np.eye(3))[None], len(REST), axis=0)
    for tick in range(int(DURATION * rate)):
        stamp_ns = START_NS + tick * NANOSECONDS // rate
        places = REST + np.array([0.0, 0.006, 0.0])
        seen.truth[stamp_ns] = transform_points(PATIENT_T_ANATOMY, places)
        seen.twin.append((stamp_ns, places + np.array([off, 0.0, 0.0]), covariances))
        seen.delays.append(0.02)
    return seen


def latest(*, refused='2', sent='3', failed='0'):
    return {
        'simulated_liver: scene': SimpleNamespace(values={'wrong_clouds': sent}),
        'anatomy: counters': SimpleNamespace(
            values={'OBSERVED_REFUSED': refused, 'UNIT_SUSPECT': '1', 'DEFORM_FAILED': failed}
        ),
    }


def broken(figures):
    return {figure.figure for figure in figures if not figure.ok}


def test_a_good_run_keeps_every_promise():
    figures = score_liver(observed(), latest())
    values = {figure.figure: figure.value for figure in figures}
    assert not broken(figures)
    assert abs(values['target_error_mean_mm'] - 0.5) < 1e-6 and abs(values['target_error_rigid_mm'] - 6.0) < 1e-6
    assert {'target_error_still_mm', 'target_error_grasp_mm', 'target_error_push_mm', 'target_rate_hz'} <= values.keys()
    assert values['target_in_95_percent_region_percent'] == 100.0


def test_what_is_wrong_breaks_its_promise():
    assert {'target_error_mean_mm', 'target_in_95_percent_region_percent'} <= broken(
        score_liver(observed(off=0.005), latest())
    )
    assert broken(score_liver(observed(), latest(refused='1'))) == {'clouds_refused'}
    assert broken(score_liver(observed(), latest(refused='4'))) == {'clouds_refused'}  # a good one was refused too
    assert broken(score_liver(observed(), latest(failed='2'))) == {'solver_failures'}
    assert broken(score_liver(observed(rate=4), latest())) == {'target_rate_hz'}


def test_a_run_that_said_nothing_breaks_the_first_promise():
    seen = LiverObserver(SimpleNamespace(create_subscription=lambda *args: None))
    assert broken(score_liver(seen, {})) == {'target_messages'}
