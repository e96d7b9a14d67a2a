"""Brings any number of pose streams to the instants of one of them, each by interpolation on SE(3)."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.pairing import (
    JUMP_NS,
    Pair,
    PairingConfig,
    StampedCovariance,
    StreamPairing,
    Unpaired,
    stream_pairing,
)


@dataclass(frozen=True, slots=True)
class Together:
    """All streams at one instant.

    Args:
        stamp_ns: The instant: that of the sample.
        sample: As measured.
        references: The other streams by name, interpolated there; their covariances hold the error of doing so and of
            their clocks.
    """

    stamp_ns: int
    sample: StampedCovariance
    references: dict[str, StampedCovariance]


@dataclass(slots=True)
class _Waiting:
    sample: StampedCovariance
    found: dict[str, StampedCovariance] = field(default_factory=dict)
    failed: str = ''


class StreamSynchroniser:
    """Waits until each other stream has passed the instant of a sample, or is known not to.

    What is settled comes in the order of the samples. As in `StreamPairing`, only stamps decide; `give_up` is for the
    monotonic clock of a live node. Stamps that go back by more than a second clear all streams.

    Args:
        names: Of the other streams.
        config: How long to wait and how far to interpolate.
        replay: Whether a recording is replayed, where a stream is waited for however late it comes.
    """

    def __init__(self, names: tuple[str, ...], config: PairingConfig | None = None, *, replay: bool = False) -> None:
        if not names or len(set(names)) != len(names):
            raise ConfigError(f'streams {list(names)}: name at least one other stream, each once')
        config = config or PairingConfig()
        self._pairings: dict[str, StreamPairing] = {name: stream_pairing(config, replay=replay) for name in names}
        self._offsets_ns = dict.fromkeys(names, 0)
        self._waiting: deque[_Waiting] = deque()
        self._newest: dict[str, int] = {}

    def reset(self) -> None:
        """Forget everything, as after a jump of the clock."""
        for pairing in self._pairings.values():
            pairing.reset()
        self._waiting.clear()
        self._newest.clear()

    def set_offset(self, name: str, offset_ns: int, sigma: float) -> None:
        """Add an offset to the stamps of a stream from now on, known to a sigma [s].

        Raises:
            ConfigError: No such stream, or a sigma that is none.
        """
        if name not in self._pairings:
            raise ConfigError(f'stream {name!r} is none of {", ".join(self._pairings)}')
        if not 0.0 <= sigma < 1e3:
            raise ConfigError(f'stream {name!r}: sigma={sigma} s of its offset must be 0 or more')
        self._offsets_ns[name] = offset_ns
        self._pairings[name].offset_sigma = sigma

    def newest_ns(self, name: str) -> int | None:
        """Return the newest stamp of another stream, None before the first."""
        return self._pairings[name].newest_reference_ns

    def add_sample(self, sample: StampedCovariance) -> list[Together | Unpaired]:
        """Add a sample and return what is settled by now; one that does not come after the last is left out."""
        if self._jumped('', sample.stamp_ns):
            self.reset()
        elif sample.stamp_ns <= self._newest.get('', -1):
            return [Unpaired(sample.stamp_ns, 'the sample does not come after the last one')]
        self._newest[''] = sample.stamp_ns
        self._waiting.append(_Waiting(sample))
        for name, pairing in self._pairings.items():
            self._note(name, pairing.add_sample(sample))
        return self._settled()

    def add_reference(self, name: str, reference: StampedCovariance) -> list[Together | Unpaired]:
        """Add a pose of another stream and return what it settles."""
        if self._offsets_ns[name]:
            reference = replace(reference, stamp_ns=reference.stamp_ns + self._offsets_ns[name])
        if self._jumped(name, reference.stamp_ns):
            self.reset()
        self._newest[name] = max(self._newest.get(name, reference.stamp_ns), reference.stamp_ns)
        self._note(name, self._pairings[name].add_reference(reference))
        return self._settled()

    def give_up(self, stamp_ns: int) -> list[Together | Unpaired]:
        """Settle all samples up to a stamp: what a stream has not passed by now is late."""
        for name, pairing in self._pairings.items():
            self._note(name, pairing.give_up(stamp_ns, 'it has stopped'))
        return self._settled()

    @property
    def waiting_ns(self) -> int | None:
        """Stamp of the oldest sample that waits, None for none."""
        return self._waiting[0].sample.stamp_ns if self._waiting else None

    def _jumped(self, name: str, stamp_ns: int) -> bool:
        newest = self._newest.get(name)
        return newest is not None and stamp_ns < newest - JUMP_NS

    def _note(self, name: str, settled: Sequence[Pair | Unpaired]) -> None:
        by_stamp = {entry.sample.stamp_ns: entry for entry in self._waiting}
        for item in settled:
            entry = by_stamp.get(item.stamp_ns)
            if entry is None:  # another stream has failed it already
                continue
            if isinstance(item, Pair):
                entry.found[name] = item.reference
            else:
                entry.failed = f'{name}: {item.reason}'

    def _settled(self) -> list[Together | Unpaired]:
        found: list[Together | Unpaired] = []
        while self._waiting:
            entry = self._waiting[0]
            if entry.failed:
                found.append(Unpaired(entry.sample.stamp_ns, entry.failed))
            elif len(entry.found) == len(self._pairings):
                found.append(Together(entry.sample.stamp_ns, entry.sample, entry.found))
            else:
                break
            self._waiting.popleft()
        return found
