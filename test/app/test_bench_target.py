"""Bench `target`: its peers are asked rightly."""

import numpy as np

from twin_nodes.app.bench import target_peers


def test_targets_follow_the_peers_own_kernel() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(0.0, 40.0, (60, 3))
    points = source + [4.0, 0.0, 0.0] + 0.1 * source[:, [1, 2, 0]]
    before = np.linalg.norm(source - points, axis=1).mean()
    move = target_peers._pycpd(source, points, 60.0, 0.01)
    assert np.linalg.norm(move(source) - points, axis=1).mean() < 0.4 * before
    far = np.array([[1e6, 0.0, 0.0]])
    np.testing.assert_allclose(move(far), far)
