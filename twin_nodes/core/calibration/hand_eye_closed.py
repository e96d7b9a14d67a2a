"""Closed-form starts for A X = X B and A X = Z B, and the consensus that keeps them from outliers.

A X = X B: rotation from the axes of the motions, then translation by least squares (Park and Martin 1994, "Robot sensor
calibration", IEEE Trans. Robot. Autom. 10(5)). A X = Z B: both rotations from one singular value decomposition of a sum
of Kronecker products, then both translations (Shah 2013, "Solving the robot-world/hand-eye calibration problem using
the Kronecker product", J. Mech. Robot. 5(3)). All are batched over hypotheses.
"""

from collections.abc import Callable

import numpy as np

from twin_nodes.core.calibration.robot_world_model import Ties, residuals
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_log

REFUSED = 'CALIBRATION_REFUSED'
Closed = Callable[[Array, Array], tuple[Array, Array]]
_SEED = 19940317
_HYPOTHESES = 150
_SUBSET = 6
_SCORED = 150
_SHARE = 0.6
_POLISHED = 5


def park_martin(hand_motions: Array, eye_motions: Array) -> tuple[Array, Array]:
    """Solve A X = X B for motions (…, n, 4, 4); returns X twice (…, 4, 4), as both ties of A X = Z B."""
    alpha, beta = rotation_log(hand_motions[..., :3, :3]), rotation_log(eye_motions[..., :3, :3])
    rotation = _nearest_rotations(np.einsum('...ni,...nj->...ij', alpha, beta))
    system = hand_motions[..., :3, :3] - np.eye(3)
    turned = np.einsum('...ij,...nj->...ni', rotation, eye_motions[..., :3, 3])
    position = _least_squares(system, turned - hand_motions[..., :3, 3])
    hand_T_eye = make_transform(rotation, position)
    return hand_T_eye, hand_T_eye


def shah(base_T_hand: Array, target_T_eye: Array) -> tuple[Array, Array]:
    """Solve A X = Z B for poses (…, n, 4, 4); returns X and Z (…, 4, 4).

    vec(R_A R_X R_Bᵀ) = (R_B ⊗ R_A) vec(R_X) is vec(R_Z) for every pose, so the two are the first right and left
    singular vectors of the sum of those products.
    """
    a, b = base_T_hand[..., :3, :3], target_T_eye[..., :3, :3]
    kronecker = np.einsum('...nik,...njl->...ijkl', b, a)
    u, _, vt = np.linalg.svd(kronecker.reshape(*kronecker.shape[:-4], 9, 9))
    hand_R_eye = _columns_to_rotation(vt[..., 0, :])
    base_R_target = _columns_to_rotation(u[..., :, 0])
    system = np.concatenate([a, np.broadcast_to(-np.eye(3), a.shape)], axis=-1)
    turned = np.einsum('...ij,...nj->...ni', base_R_target, target_T_eye[..., :3, 3])
    both = _least_squares(system, turned - base_T_hand[..., :3, 3])
    return make_transform(hand_R_eye, both[..., :3]), make_transform(base_R_target, both[..., 3:])


def consensus_start(base_T_hand: Array, target_T_eye: Array, closed: Closed) -> Ties:
    """Find ties that the better part of the poses agrees on.

    Random subsets give hypotheses (Fischler and Bolles 1981); the one with the least product of the 60 % quantiles of
    the position and of the rotation residuals wins, which needs no scale. It is then solved again from those 60 %.

    Args:
        base_T_hand: A, shape (n, 4, 4).
        target_T_eye: B, shape (n, 4, 4).
        closed: `shah` or `park_martin`.

    Raises:
        DegenerateGeometryError: No hypothesis could be computed.
    """
    rng = np.random.default_rng(_SEED)
    count = len(base_T_hand)
    subset = min(_SUBSET, count)
    chosen = rng.random((_HYPOTHESES, count)).argpartition(subset - 1, axis=1)[:, :subset]
    hypotheses = closed(base_T_hand[chosen], target_T_eye[chosen])
    scored = rng.permutation(count)[:_SCORED]
    position, rotation = _lengths(hypotheses, base_T_hand[scored], target_T_eye[scored])
    score = np.quantile(position, _SHARE, axis=1) * np.quantile(rotation, _SHARE, axis=1)
    if not np.isfinite(score).any():
        raise DegenerateGeometryError('no subset of the poses carries a solution', code=REFUSED)
    best = int(np.nanargmin(np.where(np.isfinite(score), score, np.nan)))
    ties = Ties(hypotheses[0][best], hypotheses[1][best])
    for _ in range(_POLISHED):
        keep = _nearest_share(ties, base_T_hand, target_T_eye)
        ties = Ties(*closed(base_T_hand[keep], target_T_eye[keep]))
    return ties


def _nearest_share(ties: Ties, base_T_hand: Array, target_T_eye: Array) -> Array:
    errors = residuals(ties, base_T_hand, target_T_eye)
    lengths = [np.linalg.norm(part, axis=1) for part in (errors[:, :3], errors[:, 3:])]
    total = sum(length / max(float(np.median(length)), 1e-12) for length in lengths)
    return np.asarray(total <= np.quantile(total, _SHARE))


def _lengths(hypotheses: tuple[Array, Array], base_T_hand: Array, target_T_eye: Array) -> tuple[Array, Array]:
    """Position [m] and rotation residuals (h, n) of each hypothesis; the latter as chord, ordered like the angle."""
    predicted = base_T_hand @ hypotheses[0][:, None]
    measured = hypotheses[1][:, None] @ target_T_eye
    position = np.linalg.norm(predicted[..., :3, 3] - measured[..., :3, 3], axis=-1)
    rotation = np.linalg.norm(predicted[..., :3, :3] - measured[..., :3, :3], axis=(-2, -1))
    return np.asarray(position), np.asarray(rotation)


def _columns_to_rotation(vector: Array) -> Array:
    """Rotation nearest to the matrix whose stacked columns are a vector (…, 9) of either sign."""
    matrix = np.swapaxes(vector.reshape(*vector.shape[:-1], 3, 3), -1, -2)
    return _nearest_rotations(matrix * np.sign(np.linalg.det(matrix))[..., None, None])


def _nearest_rotations(matrices: Array) -> Array:
    u, _, vt = np.linalg.svd(matrices)
    signs = np.ones(u.shape[:-1])
    signs[..., 2] = np.sign(np.linalg.det(u @ vt))
    return np.asarray((u * signs[..., None, :]) @ vt)


def _least_squares(system: Array, target: Array) -> Array:
    """Least squares (…, p) of blocks (…, n, 3, p) and targets (…, n, 3); the shortest where it is open."""
    normal = np.einsum('...nki,...nkj->...ij', system, system)
    right = np.einsum('...nki,...nk->...i', system, target)
    return np.asarray(np.einsum('...ij,...j->...i', np.linalg.pinv(normal, rcond=1e-9, hermitian=True), right))
