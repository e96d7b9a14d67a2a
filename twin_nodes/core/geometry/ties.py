"""Ties that another node computes while the streams run, used at the instants that they hold for.

Live, the newest tie counts at once. In replay the moment of arrival must not decide: there a tie counts from its own
stamp on, and a sample waits until its maker has said how far it has come. A tie of stamp 0 was known beforehand, from
a file, and holds at all times.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array

TIES_KEPT = 4096
_SAME_TIP = 1e-9  # m


@dataclass(frozen=True, slots=True, eq=False)
class Tie:
    """A pose that holds from a stamp on, until a newer one; pose (4, 4), covariance (6, 6).

    A withdrawn tie says that none holds from its stamp on; its pose and covariance mean nothing.
    """

    stamp_ns: int
    pose: Array
    covariance: Array
    withdrawn: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class TipShare:
    """How the error of a tip's calibration is in a registration that was touched with it.

    Args:
        stamp_ns: Of the registration.
        tip: The tip in the tool, as it was taken to be [m], shape (3,).
        effect: What an error of the tip [m] in the axes of the tool makes of the registration's (δp, δφ), shape (6, 3).
    """

    stamp_ns: int
    tip: Array
    effect: Array

    def holds_for(self, tip: Tie) -> bool:
        """Whether the registration was touched with this very tip, and not before it was calibrated anew."""
        return bool(np.abs(tip.pose[:3, 3] - self.tip).max() < _SAME_TIP)


class _Made:
    """What another node makes while the streams run, and how far it has come.

    Args:
        ordered: Whether stamps decide (replay) and not the order of arrival.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._made = False
        self._done_ns = 0
        self._needed_ns = 0

    def progress(self, done_ns: int, newest_ns: int) -> None:
        """Hear how far the maker has come.

        Args:
            done_ns: Nothing up to this stamp is still to come.
            newest_ns: Stamp of the newest that it has sent; 0 for none.
        """
        self._made = True
        self._done_ns, self._needed_ns = done_ns, newest_ns

    def settled(self, stamp_ns: int) -> bool:
        """Whether what holds at this stamp can no longer change."""
        if not (self._ordered and self._made):
            return True
        return stamp_ns <= self._done_ns and (not self._needed_ns or self._holds(self._needed_ns))

    def _holds(self, stamp_ns: int) -> bool:
        raise NotImplementedError


class TieStream(_Made):
    """The ties of one maker, such as the calibration of one tool.

    Args:
        ordered: Whether stamps decide (replay) and not the order of arrival.
    """

    def __init__(self, *, ordered: bool) -> None:
        super().__init__(ordered=ordered)
        self._timeless: Tie | None = None
        self._ties: list[Tie] = []

    def add(self, tie: Tie) -> None:
        """Take a tie; one of an older stamp than the last takes its place in the past."""
        if tie.stamp_ns == 0:
            self._timeless = tie
            self._ties.clear()
            return
        if self._ordered:
            self._ties = [known for known in self._ties if known.stamp_ns != tie.stamp_ns]
            self._ties.append(tie)
            self._ties.sort(key=lambda known: known.stamp_ns)
            del self._ties[:-TIES_KEPT]
        else:
            self._ties = [tie]

    def at(self, stamp_ns: int) -> Tie | None:
        """Return the tie to use for a sample of this stamp, or None."""
        if not self._ordered:
            tie = self._ties[-1] if self._ties else self._timeless
        else:
            tie = next((tie for tie in reversed(self._ties) if tie.stamp_ns <= stamp_ns), self._timeless)
        return None if tie is None or tie.withdrawn else tie

    @property
    def is_known(self) -> bool:
        """Whether anything was heard, of a tie or of its maker; in a replay the first may come after the streams."""
        return self._made or bool(self._ties) or self._timeless is not None

    def reset(self) -> None:
        """Forget what was measured, after a jump of the clock; what is from a file stays, and live the newest too."""
        if self._ordered:
            self._ties.clear()
            self._done_ns = self._needed_ns = 0

    def _holds(self, stamp_ns: int) -> bool:
        return any(tie.stamp_ns == stamp_ns for tie in self._ties)


class ShareStream(_Made):
    """How the error of one tip is in the registrations; a registration and its share have one stamp.

    Args:
        ordered: Whether stamps decide (replay) and not the order of arrival.
    """

    def __init__(self, *, ordered: bool) -> None:
        super().__init__(ordered=ordered)
        self._shares: dict[int, TipShare] = {}

    def add(self, share: TipShare) -> None:
        """Take the share of a registration, in place of an earlier one of the same stamp."""
        self._shares[share.stamp_ns] = share
        timed = sorted(stamp_ns for stamp_ns in self._shares if stamp_ns)
        if len(timed) > TIES_KEPT:
            del self._shares[timed[0]]

    def effect(self, tip: Tie, registration: Tie) -> Array | None:
        """Return what an error of this tip makes of this registration, (6, 3); None where they are independent."""
        share = self._shares.get(registration.stamp_ns)
        return share.effect if share is not None and share.holds_for(tip) else None

    def reset(self) -> None:
        """Forget what was measured, after a jump of the clock; what is from a file stays, and live the others too."""
        if self._ordered:
            self._shares = {stamp_ns: share for stamp_ns, share in self._shares.items() if not stamp_ns}
            self._done_ns = self._needed_ns = 0

    def _holds(self, stamp_ns: int) -> bool:
        return stamp_ns in self._shares
