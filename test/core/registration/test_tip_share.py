"""The error of the tip is in the registration and in the tip: its share makes σ true however the tool is held."""

import numpy as np
import pytest

from twin_nodes.core.geometry.chain import Link, tip_in_anatomy
from twin_nodes.core.geometry.covariance import pose_error, square_root
from twin_nodes.core.geometry.se3 import inverse, make_transform, random_transform, rotation_exp, transform_points
from twin_nodes.core.registration.paired_points import register_paired_points
from twin_nodes.core.registration.tip_share import share_of_tip, tip_in_points

LANDMARKS = np.array([[0.04, 0.0, 0.0], [-0.03, 0.05, 0.0], [0.0, -0.05, 0.02], [0.01, 0.02, 0.06], [-0.05, 0, 0.03]])
TIP = np.array([-0.018, 0.011, -0.152])
TIP_COVARIANCE = np.diag([4e-8, 9e-8, 1.6e-7])
FLE = 1e-4
STILL = np.diag([1e-12] * 6)
TARGET = np.array([0.005, 0.01, 0.02])


def trial(rng, patient_R_tool, turn):
    """One operation: the tip is off, landmarks are touched with it, then it is led to a target, turned."""
    root = square_root(TIP_COVARIANCE)
    believed = TIP - root @ rng.normal(size=3)
    patient_T_anatomy = make_transform(rotation_exp([0.3, -1.1, 0.7]), [0.062, -0.041, -0.085])
    places = transform_points(patient_T_anatomy, LANDMARKS) + rng.normal(0.0, FLE, LANDMARKS.shape)
    touched = places + patient_R_tool @ (believed - TIP)  # the tool is where the true tip touches
    turned = np.broadcast_to(patient_R_tool @ root, (len(LANDMARKS), 3, 3))
    found = register_paired_points(touched, LANDMARKS, covariances=np.tile(FLE**2 * np.eye(3), (len(LANDMARKS), 1, 1)),
                                   common=turned)  # fmt: skip
    shared = tip_in_points(found.patient_T_anatomy, found.points_anatomy, turned)
    now = make_transform(patient_R_tool @ rotation_exp(turn), [0.0, 0.0, 0.0])
    now[:3, 3] = transform_points(patient_T_anatomy, TARGET) - now[:3, :3] @ TIP
    tip = np.zeros((6, 6))
    tip[:3, :3] = TIP_COVARIANCE
    links = (
        Link('tool', now, STILL), Link('tip', make_transform(np.eye(3), believed), tip),
        Link('patient', np.eye(4), STILL), Link('registration', found.patient_T_anatomy, found.covariance),
    )  # fmt: skip
    truth = inverse(patient_T_anatomy) @ now @ make_transform(np.eye(3), TIP)
    return links, share_of_tip(shared, root), truth


def squared(chain, truth):
    error = pose_error(chain.start_T_end, truth)[:3]
    return float(error @ np.linalg.solve(chain.covariance[:3, :3], error))


@pytest.mark.parametrize(
    ('turn', 'alone'), [(np.zeros(3), (0.0, 1.5)), (np.array([0.0, 0.0, np.pi]), (3.6, 9.0))], ids=['as then', 'turned']
)
def test_sigma_is_true_for_a_tool_held_as_at_the_landmarks_and_for_one_turned_round(turn, alone):
    rng = np.random.default_rng(5)
    patient_R_tool = random_transform(rng)[:3, :3]
    with_share, without = [], []
    for _ in range(400):
        links, share, truth = trial(rng, patient_R_tool, turn)
        with_share.append(squared(tip_in_anatomy(*links, tip_share=share), truth))
        without.append(squared(tip_in_anatomy(*links), truth))
    # the mean of χ² with 3 degrees of freedom over 400 trials has σ = √(6/400) = 0.12; 4 σ
    assert np.mean(with_share) == pytest.approx(3.0, abs=0.5)
    assert np.mean(np.array(with_share) < 7.815) == pytest.approx(0.95, abs=0.035)
    assert alone[0] < np.mean(without) < alone[1]  # as if independent: too wide, or too narrow


def test_the_share_leaves_what_is_not_the_tips_alone():
    links, share, _ = trial(np.random.default_rng(1), np.eye(3), np.zeros(3))
    before, after = tip_in_anatomy(*links), tip_in_anatomy(*links, tip_share=share)
    np.testing.assert_array_equal(before.start_T_end, after.start_T_end)
    assert [cost.name for cost in after.costs] == ['registration', 'patient', 'tool', 'tip']
    assert after.sigma == pytest.approx(np.sqrt(np.trace(after.covariance[:3, :3])))
    assert np.linalg.eigvalsh(after.covariance).min() > -1e-18
    none = tip_in_anatomy(*links, tip_share=np.zeros((6, 3)))
    np.testing.assert_allclose(none.covariance, before.covariance, rtol=1e-9, atol=1e-18)
