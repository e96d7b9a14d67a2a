"""The order of elimination: a tree of parts that do not touch, cut where the fewest nodes lie between."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree

from twin_nodes.core.anatomy.elastic.dissection import _AXES, dissect

LEAF = 12


def graph(count, seed):
    """Points in a box, each with its nearest ones: shape (n, 3) and the symmetric graph."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(size=(count, 3)) * [0.3, 0.1, 0.2]
    near = cKDTree(points).query(points, k=7)[1][:, 1:]
    ends = np.repeat(np.arange(count), near.shape[1])
    one_way = csr_array((np.ones(near.size), (ends, near.ravel())), shape=(count, count))
    return points, csr_array(one_way + one_way.T)


def dissected(points, edges):
    return dissect(points, edges.indptr.astype(np.int64), edges.indices.astype(np.int64), LEAF)


def ancestors(group, parent):
    above = {group}
    while parent[group] >= 0:
        group = parent[group]
        above.add(group)
    return above


@pytest.mark.parametrize(('count', 'seed'), [(1, 0), (LEAF, 1), (90, 2), (400, 3)])
def test_every_edge_lies_on_one_way_up_the_tree(count, seed):
    points, edges = graph(count, seed) if count > LEAF else (np.zeros((count, 3)), csr_array((count, count)))
    order, first, parent = dissected(points, edges)
    assert sorted(order) == list(range(count)) and first[0] == 0 and first[-1] == count
    assert (np.diff(first) > 0).all() and parent[-1] == -1 and (parent[:-1] > np.arange(len(parent) - 1)).all()
    group_of = np.empty(count, int)
    group_of[order] = np.searchsorted(first, np.arange(count), side='right') - 1
    for a, b in zip(*edges.nonzero(), strict=True):
        low, high = sorted((group_of[a], group_of[b]))
        assert high in ancestors(low, parent)
    with_children = set(parent)
    assert all(first[g + 1] - first[g] <= LEAF for g in range(len(parent)) if g not in with_children)


@pytest.mark.parametrize('seed', range(4))
def test_the_first_cut_has_as_few_nodes_as_a_median_allows(seed):
    """Kőnig (1931): the least cover of the cut edges is as large as the greatest matching, here of scipy."""
    points, edges = graph(300, seed)
    fewest = len(points)
    for axis in _AXES:
        by_place = np.argsort(points @ axis, kind='stable')
        low, high = by_place[:150], by_place[150:]
        fewest = min(fewest, int((maximum_bipartite_matching(edges[low][:, high]) >= 0).sum()))
    order, first, _ = dissected(points, edges)
    assert len(order[first[-2] :]) == fewest
