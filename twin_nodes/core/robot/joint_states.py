"""Whole joint states of an arm, whether each message tells all its joints or some of them."""

from __future__ import annotations

from collections.abc import Sequence

from twin_nodes.core.robot.joint_reading import JointReader, JointSample

_KEPT = 64  # lists of names that are known


class JointStates:
    """Takes the messages of all topics that tell the joints of an arm, live or from a bag.

    A message that names none of the joints, of a gripper or another arm, is left out once there was a good one; before
    that it is refused, so that wrong names are told.

    Args:
        reader: Checks what is whole.
    """

    def __init__(self, reader: JointReader) -> None:
        self.reader, self._parts = reader, reader.parts()
        self._named: dict[tuple[str, ...], int] = {}
        self._is_known = False

    def reset(self) -> None:
        """Forget all, after a jump of the clock."""
        self.reader.reset()
        self._parts.reset()
        self._is_known = False

    def take(
        self,
        stamp_ns: int,
        names: Sequence[str],
        positions: Sequence[float],
        velocities: Sequence[float] = (),
        efforts: Sequence[float] = (),
        *,
        frame: str = '',
        now_ns: int | None = None,
    ) -> list[JointSample]:
        """Take one message and return the samples that it brings, each checked whole; arguments as `JointReader.read`.

        Raises:
            InputError: as `JointReader.read` and `JointParts.add`; nothing of the message is used.
        """
        named = self._count(tuple(names))
        if not named and names and self._is_known:
            return []
        if 0 < named < len(self.reader):
            self.reader.check_clock(stamp_ns, now_ns)
            self.reader.check_frame(frame)
            whole = self._parts.add(stamp_ns, names, positions, velocities)
            if whole is not None:
                states = [(one.stamp_ns, one.names, one.positions.tolist(), one.velocities.tolist()) for one in whole]
                found = [self.reader.read(*state, now_ns=now_ns) for state in states]
                self._is_known = self._is_known or bool(found)
                return found
        sample = self.reader.read(stamp_ns, names, positions, velocities, efforts, frame=frame, now_ns=now_ns)
        self._is_known = True
        return [sample]

    def waits_for(self) -> str:
        """Return what keeps whole states from coming, for people; '' where nothing is known."""
        return self._parts.waits_for()

    def _count(self, names: tuple[str, ...]) -> int:
        """Return how many of the joints are named; a robot says the same names each time."""
        count = self._named.get(names)
        if count is None:
            if len(self._named) >= _KEPT:
                self._named.clear()
            count = self._named[names] = self._parts.counted(names)
        return count
