"""What is known of the ways to a target while the best are sought."""

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.routes.entry import EntryRegion


class RouteSearch:
    """What is known of the ways while the best are sought: the margin of each, or a bound of it from above.

    Groups of entries, each into each direction of the bend, are bounded by the way of their centre; points between by
    the one that stands for their neighbourhood.

    Args:
        region: The entries.
        owners: Entry of each way, shape (m,); the directions of the bend of one entry follow one another.
        count: Number of ways m.
        slack: How much the margin changes at most when the entry moves by a metre.
    """

    def __init__(self, region: EntryRegion, owners: NDArray[np.int64], count: int, slack: float) -> None:
        self.slack = slack
        turns = _turns(owners)
        self.entries = region.points[owners]
        self.margins, self.upper = np.full(count, -np.inf), np.full(count, np.inf)
        self.groups = region.groups[owners] + turns * len(region.radii)
        self.radii = np.tile(region.radii, int(turns.max()) + 1)
        first = np.full(len(region.points), -1)
        first[owners[::-1]] = np.arange(count)[::-1]  # the first way of each entry, -1 for one that is out of reach
        self.is_centre = np.isin(owners, region.centres)
        self.stands = region.nearby[owners] == owners
        self._centres, self._standing = (
            np.where(first[points] < 0, -1, first[points] + turns)
            for points in (region.centres[region.groups[owners]], region.nearby[owners])
        )
        self._order = np.argsort(self.groups, kind='stable')
        self._starts = np.searchsorted(self.groups[self._order], np.arange(len(self.radii) + 1))

    def group_bounds(self) -> Array:
        """Bound of the margins of each group [m]; inf where its centre is out of reach."""
        bounds = np.full(len(self.radii), np.inf)
        own = self.groups[self.is_centre]
        bounds[own] = self.margins[self.is_centre] + self.slack * self.radii[own]
        return bounds

    def members_of(self, groups: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ways of some groups, their centres left out."""
        parts = [self._order[self._starts[group] : self._starts[group + 1]] for group in groups]
        members = np.concatenate(parts) if parts else np.empty(0, np.int64)
        return members[~self.is_centre[members]]

    def bound(self, ways: NDArray[np.int64]) -> None:
        """Bound some ways by those of their centre and of the point that stands for them."""
        for judges in (self._centres[ways], self._standing[ways]):
            aside = np.linalg.norm(self.entries[ways] - self.entries[judges], axis=1)
            bounds = np.where(judges < 0, np.inf, self.upper[judges] + self.slack * aside)
            self.upper[ways] = np.minimum(self.upper[ways], bounds)


def _turns(owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often an owner came before: the direction of the bend of each way, shape (m,)."""
    starts = np.concatenate([[True], np.diff(owners) != 0])
    at = np.arange(len(owners))
    return at - np.maximum.accumulate(np.where(starts, at, 0))
