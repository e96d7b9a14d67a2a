"""The distances as the guidance last stated them, and why there is none."""

from collections.abc import Iterable

from twin_nodes.app.view.picture import DistancePicture, ToolPicture
from twin_nodes.app.view.records import Clearance, Moment, StructureClearance, Surface
from twin_nodes.core.guidance.zones import Zone


class DistanceState:
    """Holds the newest clearance and says what of it may be shown.

    Args:
        stale_after_ns: Longest silence that still counts as current [ns].
    """

    def __init__(self, stale_after_ns: int) -> None:
        self._stale_after_ns = stale_after_ns
        self.clear()

    def clear(self) -> None:
        """Forget it, as after a jump of the clock."""
        self._clearance: Clearance | None = None
        self._steady_ns = 0

    def on_clearance(self, clearance: Clearance, moment: Moment) -> None:
        """Take the distances of one sample; an older stamp than the last is not news."""
        if self._clearance is None or clearance.stamp_ns > self._clearance.stamp_ns:
            self._clearance, self._steady_ns = clearance, moment.steady_ns

    def pictures(
        self, surfaces: Iterable[Surface], needed: tuple[ToolPicture, ...], moment: Moment
    ) -> tuple[DistancePicture, ...]:
        """Return a row for each structure.

        Args:
            surfaces: The structures.
            needed: What must be seen for a distance to be true: the guided tool, the patient.
            moment: Now.
        """
        rows, reason = self._rows(needed, moment)
        names = {surface.index: surface.name for surface in surfaces}
        for index in rows:
            names.setdefault(index, f'structure {index}')
        return tuple(_picture(index, name, rows.get(index), reason) for index, name in names.items())

    def _rows(self, needed: tuple[ToolPicture, ...], moment: Moment) -> tuple[dict[int, StructureClearance], str]:
        for body in needed:
            if not body.live and body.fixed_T_tool is not None:
                return {}, f'{body.name} is lost'
        if self._clearance is None:
            return {}, 'no advice yet'
        silent_ns = moment.steady_ns - self._steady_ns
        age_ns = moment.ros_ns - self._clearance.stamp_ns
        if max(silent_ns, age_ns) > self._stale_after_ns:
            return {}, f'no advice for {max(silent_ns, age_ns) / 1e9:.1f} s'
        missing = [body.name for body in needed if not body.live]
        if missing:
            return {}, f'{missing[0]} is not seen'
        return {row.structure: row for row in self._clearance.rows}, 'not in the advice'


def _picture(index: int, name: str, row: StructureClearance | None, reason: str) -> DistancePicture:
    if row is None:
        return DistancePicture(index, name, Zone.WITHDRAWN, None, reason)
    if row.zone is Zone.WITHDRAWN:
        return DistancePicture(index, name, Zone.WITHDRAWN, None, 'withdrawn by the guidance')
    return DistancePicture(index, name, row.zone, row, '')
