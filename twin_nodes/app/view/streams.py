"""How often each output speaks, and how old its newest word is."""

from collections import deque

from twin_nodes.app.view.records import Moment

WINDOW_NS = 3_000_000_000
SAMPLES = 128


class Stream:
    """Arrivals of one topic, counted on the monotonic clock; age by the stamp where there is one."""

    def __init__(self) -> None:
        self._arrivals: deque[int] = deque(maxlen=SAMPLES)
        self._stamp_ns = 0

    def on_message(self, moment: Moment, stamp_ns: int = 0) -> None:
        """Note a message; stamp 0 is none."""
        self._arrivals.append(moment.steady_ns)
        self._stamp_ns = max(self._stamp_ns, stamp_ns)

    def rate_hz(self, moment: Moment) -> float | None:
        """Messages per second over the last seconds, None for fewer than three."""
        recent = [arrival for arrival in self._arrivals if moment.steady_ns - arrival < WINDOW_NS]
        if len(recent) < 3 or recent[-1] == recent[0]:
            return None
        return (len(recent) - 1) * 1e9 / (recent[-1] - recent[0])

    def age_s(self, moment: Moment) -> float | None:
        """Age of the newest message [s], None before the first."""
        if not self._arrivals:
            return None
        if self._stamp_ns:
            return (moment.ros_ns - self._stamp_ns) / 1e9
        return (moment.steady_ns - self._arrivals[-1]) / 1e9


class Streams:
    """The streams of all outputs, by name."""

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}

    def on_message(self, name: str, moment: Moment, stamp_ns: int = 0) -> None:
        """Note a message of an output; names come from the configuration, so there are few."""
        self._streams.setdefault(name, Stream()).on_message(moment, stamp_ns)

    def clear(self) -> None:
        """Forget all, as after a jump of the clock."""
        self._streams.clear()

    def of(self, *names: str) -> Stream:
        """Return the first of the named outputs that spoke."""
        return next((self._streams[name] for name in names if name in self._streams), Stream())
