"""Bundle adjustment: unknowns that all views share, and six of each view that are eliminated.

Triggs et al. 2000, "Bundle adjustment – a modern synthesis", section 6: the Schur complement of the views leaves normal
equations of the shared unknowns alone, whose inverse is their covariance. Damping after Levenberg and Marquardt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp, skew

REFUSED = 'CALIBRATION_REFUSED'
S = TypeVar('S')
_ROUNDS = 60
_SETTLED = 1e-10
_LARGEST_DAMPING = 1e12


@dataclass(frozen=True, eq=False)
class ViewBlock:
    """What one view adds, whitened: divided by its standard deviation.

    Args:
        residuals: Shape (m,).
        by_shared: Derivative by the shared unknowns, shape (m, g).
        by_view: Derivative by the six of the view, shape (m, 6).
    """

    residuals: Array
    by_shared: Array
    by_view: Array


@dataclass(frozen=True, eq=False)
class BundleFit:
    """The outcome of a bundle adjustment.

    Args:
        state: The unknowns, of the caller's own type.
        cost: Sum of the squared residuals.
        information: Of the shared unknowns with the views eliminated, shape (g, g).
        scores: Gradient that each view adds to them, shape (views, g).
        view_covariances: Of the six of each view with the shared unknowns held, shape (views, 6, 6).
        rounds: How many it took.
        converged: Whether the last step was below what numbers can tell.
    """

    state: object
    cost: float
    information: Array
    scores: Array
    view_covariances: Array
    rounds: int
    converged: bool


def adjust(
    state: S,
    blocks_of: Callable[[S], Sequence[ViewBlock]],
    moved: Callable[[S, Array, Array], S],
    *,
    prior: Callable[[S], ViewBlock] | None = None,
) -> tuple[S, BundleFit]:
    """Minimise the squared residuals of all views.

    Args:
        state: Where to start.
        blocks_of: Residuals and derivatives of every view at a state; InputError where it cannot be.
        moved: The state after a step of the shared unknowns (g,) and of the views (views, 6).
        prior: What is known beforehand of the shared unknowns; its `by_view` is not used.

    Raises:
        DegenerateGeometryError: The views leave an unknown open.
    """
    damping, rounds, converged = 1e-4, 0, False
    blocks = blocks_of(state)
    before = prior(state) if prior else None
    cost = _cost(blocks, before)
    while rounds < _ROUNDS and not converged and damping < _LARGEST_DAMPING:
        rounds += 1
        shared, views, predicted = _step(blocks, before, damping)
        trial = moved(state, shared, views)
        try:
            trial_blocks = blocks_of(trial)
        except InputError:  # a point went behind the camera
            damping *= 10.0
            continue
        trial_before = prior(trial) if prior else None
        trial_cost = _cost(trial_blocks, trial_before)
        converged = predicted <= _SETTLED * max(cost, 1e-12)
        if trial_cost <= cost:
            state, blocks, before, cost = trial, trial_blocks, trial_before, trial_cost
            damping = max(damping * 0.1, 1e-12)
        else:
            damping *= 10.0
    information, scores, covariances = _reduced(blocks, before)
    return state, BundleFit(state, cost, information, scores, covariances, rounds, converged)


def covariance_of(information: Array, *, what: str, rcond: float = 1e-13) -> Array:
    """Invert an information matrix (g, g), scaled to a unit diagonal first.

    Raises:
        DegenerateGeometryError: A direction of the unknowns is open.
    """
    diagonal = np.diag(information)
    if not np.isfinite(information).all() or (diagonal <= 0.0).any():
        raise DegenerateGeometryError(f'the views carry nothing about {what}', code=REFUSED)
    scale = np.sqrt(diagonal)
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    if values[0] < rcond * values[-1]:
        raise DegenerateGeometryError(
            f'the views leave {what} open: turn the board about two axes, fill the image', code=REFUSED
        )
    return np.asarray((vectors / values) @ vectors.T / np.outer(scale, scale))


def memory_of_views(information: Array, scores: Array) -> float:
    """Return by how much variances grow because errors within a view go together; 1 where that is not seen.

    The scatter of the views' scores against what independent corners would give (White 1982; Liang and Zeger 1986),
    pooled over all unknowns, since a dozen views do not carry one number for each.

    Args:
        information: Of the shared unknowns, shape (g, g), for residuals of unit variance.
        scores: Gradient of each view at the solution, shape (views, g).
    """
    views, unknowns = scores.shape
    if views < 3:
        return 1.0
    scatter = float(np.einsum('ng,gh,nh->', scores, np.linalg.pinv(information, hermitian=True), scores))
    ratio = scatter / unknowns * views / (views - 1.0)
    # a score of v views has about v·g/(g+v) independent values
    chance = np.sqrt(2.0 / (unknowns * (views - 1.0) / (unknowns + views)))
    return ratio if ratio > 1.0 + 2.0 * chance else 1.0


def moved_pose(a_T_b: Array, step: Array) -> Array:
    """Move a pose by (δp, δφ), the error convention of `core.geometry.covariance`."""
    return make_transform(rotation_exp(step[3:]) @ a_T_b[:3, :3], a_T_b[:3, 3] + step[:3])


def point_by_pose(a_R_b: Array, points_b: Array) -> Array:
    """Return the derivative (n, 3, 6) of a_T_b @ points_b by the step of `moved_pose`."""
    turned = points_b @ a_R_b.T
    return np.concatenate([np.broadcast_to(np.eye(3), (len(points_b), 3, 3)), -skew(turned)], axis=2)


def _cost(blocks: Sequence[ViewBlock], prior: ViewBlock | None) -> float:
    every = [*blocks, prior] if prior is not None else blocks
    return float(sum(block.residuals @ block.residuals for block in every))


def _step(blocks: Sequence[ViewBlock], prior: ViewBlock | None, damping: float) -> tuple[Array, Array, float]:
    """Return the steps of shared unknowns and views, and the decrease of the cost that they promise."""
    size = blocks[0].by_shared.shape[1]
    matrix, vector = np.zeros((size, size)), np.zeros(size)
    if prior is not None:
        matrix, vector = prior.by_shared.T @ prior.by_shared, -prior.by_shared.T @ prior.residuals
    parts = []
    for block in blocks:
        cross, own = block.by_view.T @ block.by_shared, block.by_view.T @ block.by_view
        own = own + np.diag(damping * np.diag(own) + 1e-300)
        matrix = matrix + block.by_shared.T @ block.by_shared
        vector = vector - block.by_shared.T @ block.residuals
        parts.append((cross, np.linalg.pinv(own, hermitian=True), -block.by_view.T @ block.residuals))
    gradient, matrix = vector.copy(), matrix + np.diag(damping * np.diag(matrix) + 1e-300)
    for cross, inverse_own, own_vector in parts:
        matrix = matrix - cross.T @ inverse_own @ cross
        vector = vector - cross.T @ inverse_own @ own_vector
    scale = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    shared = np.linalg.pinv(matrix / np.outer(scale, scale), rcond=1e-14, hermitian=True) @ (vector / scale) / scale
    views = np.array([inverse_own @ (own_vector - cross @ shared) for cross, inverse_own, own_vector in parts])
    promised = float(shared @ gradient) + sum(float(view @ part[2]) for view, part in zip(views, parts, strict=True))
    return shared, views, promised


def _reduced(blocks: Sequence[ViewBlock], prior: ViewBlock | None) -> tuple[Array, Array, Array]:
    size = blocks[0].by_shared.shape[1]
    information = np.zeros((size, size)) if prior is None else prior.by_shared.T @ prior.by_shared
    scores, covariances = [], []
    for block in blocks:
        own = np.linalg.pinv(block.by_view.T @ block.by_view, hermitian=True)
        free = block.by_shared - block.by_view @ (own @ (block.by_view.T @ block.by_shared))
        information = information + free.T @ free
        scores.append(free.T @ block.residuals)
        covariances.append(own)
    return np.asarray(information), np.array(scores), np.array(covariances)
