"""Points that move with the tissue."""

import numpy as np
import pytest
from nonrigid_organ import small_compliance

from twin_nodes.core.anatomy.targets import at_nodes, attach
from twin_nodes.core.errors import InputError


def test_points_inside_are_found_where_they_are_and_follow_any_affine_motion() -> None:
    mesh = small_compliance().model.mesh
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(4), 40)
    points = np.einsum('ka,kai->ki', shares, mesh.nodes[mesh.tets[rng.integers(len(mesh.tets), size=40)]])
    tied = attach(mesh, points)
    np.testing.assert_allclose(tied.at(mesh.nodes), points, atol=1e-12)
    stretch, shift = np.eye(3) + 0.2 * rng.normal(size=(3, 3)), rng.normal(size=3)
    np.testing.assert_allclose(tied.at(mesh.nodes @ stretch.T + shift), points @ stretch.T + shift, atol=1e-12)


def test_nodes_are_points_of_the_tissue() -> None:
    mesh = small_compliance().model.mesh
    np.testing.assert_array_equal(at_nodes([3, 7]).at(mesh.nodes), mesh.nodes[[3, 7]])


@pytest.mark.parametrize(
    ('points', 'message'),
    [
        (np.zeros(3), 'shape'),
        (np.full((1, 3), np.nan), 'NaN'),
        (np.full((2, 3), 60.0), '2 of 2 points lie outside the mesh'),
    ],
)
def test_points_that_are_not_of_the_organ_are_refused(points: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attach(small_compliance().model.mesh, points)
