"""What happens to the anatomy while it is guarded, each change counted from its own stamp on.

Live, what has arrived counts. In replay the moment of arrival must not decide: there a change waits for the first pose
that is not older than it, and a pose waits until the makers of changes have come as far as its stamp.
"""

from bisect import insort
from collections.abc import Callable

from twin_nodes.core.stamps import ALL_NS, NANOSECONDS

WAIT_NS = (
    NANOSECONDS // 2
)  # of stamps, for a maker that does not say how far it has come: it is in the recording itself
LONGEST_NS = 60 * NANOSECONDS  # of stamps, after which a maker that says nothing more is not waited for

Apply = Callable[[], None]


class AnatomyChanges:
    """Holds changes until their time has come.

    Args:
        ordered: Whether stamps decide (replay) and not the order of arrival.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._followers: list[Callable[[int], None]] = []
        self._listeners: list[Apply] = []
        self._progress: dict[str, tuple[int, int]] = {}
        self._ended: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Forget what waits and how far the makers have come, not that there are any, after a jump of the clock."""
        self._waiting: list[tuple[int, int, Apply]] = []
        self._count = 0
        self._heard: dict[str, int] = {}
        self._progress = dict.fromkeys(self._progress, (0, 0))
        self._ended.clear()

    def follow(self, follower: Callable[[int], None]) -> None:
        """Have a callback told the stamp of each pose, once the changes up to it are done."""
        self._followers.append(follower)

    def listen(self, listener: Apply) -> None:
        """Have a callback told when more may be settled than before."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def add(self, maker: str, stamp_ns: int, apply: Apply) -> None:
        """Take a change; live, and with stamp 0, which says known beforehand, it is done at once.

        Args:
            maker: What it comes from.
            stamp_ns: From when on it counts.
            apply: Does it; it must not bring forth advice.
        """
        self._heard[maker] = max(self._heard.get(maker, 0), stamp_ns)
        if not self._ordered or stamp_ns == 0:
            apply()
            return
        self._count += 1
        insort(self._waiting, (stamp_ns, self._count, apply), key=lambda change: change[:2])
        self._tell()

    def progress(self, maker: str, done_ns: int, newest_ns: int) -> None:
        """Hear how far a maker has come.

        Args:
            maker: Which one.
            done_ns: No change up to this stamp is still to come; ALL_NS once its streams have ended, or pause: poses
                that come after that wait for it again.
            newest_ns: Stamp of the newest change that it has sent; 0 for none.
        """
        if done_ns == ALL_NS:
            self._ended.add(maker)
            done_ns, _ = self._progress.get(maker, (0, 0))
        else:
            self._ended.discard(maker)
        self._progress[maker] = (done_ns, newest_ns)
        self._tell()

    def settled(self, stamp_ns: int, streams_ns: int) -> bool:
        """Whether all changes up to a stamp are here.

        Args:
            stamp_ns: Of a pose.
            streams_ns: Newest stamp of the streams of poses.
        """
        if not self._ordered or streams_ns >= stamp_ns + LONGEST_NS:
            return True
        for maker, (done_ns, newest_ns) in self._progress.items():
            if stamp_ns > done_ns or self._heard.get(maker, 0) < newest_ns:
                return False
        silent = self._heard.keys() - self._progress.keys()
        return not silent or streams_ns >= stamp_ns + WAIT_NS

    @property
    def have_ended(self) -> bool:
        """Whether those makers that say how far they are have said their last, and what they made is here."""
        return all(
            maker in self._ended and self._heard.get(maker, 0) >= newest_ns
            for maker, (_, newest_ns) in self._progress.items()
        )

    def advance(self, stamp_ns: int) -> None:
        """Do the changes up to the stamp of a pose, in the order of their stamps."""
        while self._waiting and self._waiting[0][0] <= stamp_ns:
            self._waiting.pop(0)[2]()
        for follower in self._followers:
            follower(stamp_ns)
