"""Faults of the bench `telesurgery_kills`: which are done, what was seen of each, and the figures of a series."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from twin_nodes.app.figures import Figure, judge
from twin_nodes.app.telesurgery_sites import PROCESSES

STEP_LIMIT_MM, SPEED_LIMIT_MM_S = 0.5, 20.0
CREPT = 5e-5  # beyond the noise of where a robot stands [m]
TELL_EVERY = 10


@dataclass(frozen=True)
class Fault:
    """What is done to which process."""

    kind: str
    process: str


@dataclass
class Outcome:
    """What was seen of one fault.

    Args:
        fault: Which.
        hold: From the last valid command to the last motion of the robot [s].
        crept: How far it moved between standing and the next request [m].
        seen: Whether its return was heard, and so measured.
        step: Largest step from one set point to the next at the reconnection [m].
        gaps: How many gaps there were in the set points that were heard of it; no step is judged over them.
        speed: Largest speed of the set point while it comes to the hand, in the first second of that [m/s].
        recovered: Whether the robot followed again.
    """

    fault: Fault
    hold: float
    crept: float = 0.0
    seen: bool = False
    step: float = 0.0
    gaps: int = 0
    speed: float = 0.0
    recovered: bool = True


@dataclass
class Series:
    """All outcomes, what could not be judged, and how long it took [s]."""

    outcomes: list[Outcome] = field(default_factory=list)
    skipped: int = 0
    seconds: float = 0.0


def plan(count: int, seed: int = 1) -> list[Fault]:
    """Return the faults in a random order: each tenth SIGKILL, of the others 2 SIGSTOP to 1 cut, each process in turn.

    A killed process takes seconds to start again, a stopped one none.
    """
    rng = np.random.default_rng(seed)
    names = list(PROCESSES)
    faults = []
    turns = dict.fromkeys(('SIGKILL', 'SIGSTOP', 'cut'), 0)
    for number in range(count):
        kind = 'SIGKILL' if number % 10 == 3 else ('SIGSTOP', 'cut', 'SIGSTOP')[number % 3]
        process = 'emulator' if kind == 'cut' else names[turns[kind] % len(names)]
        turns[kind] += 1
        faults.append(Fault(kind, process))
    rng.shuffle(faults)  # type: ignore[arg-type]
    return faults


def say_progress(series: Series, count: int) -> None:
    """Say how far it is, on stderr."""
    done, last = len(series.outcomes), series.outcomes[-1]
    if broken := _broken(last):
        print(f'{done}: {last.fault.kind} of {last.fault.process}: {broken}', file=sys.stderr, flush=True)
    if done % TELL_EVERY and done != count:
        return
    holds = 1e3 * np.array([outcome.hold for outcome in series.outcomes])
    left = series.seconds / done * (count - done) / 60.0
    text = f'{done} of {count}: hold p50 {np.nanmedian(holds):.0f} ms, worst {np.nanmax(holds):.0f} ms, '
    print(f'{text}{int((holds > 100.0).sum())} late; {left:.0f} min left', file=sys.stderr, flush=True)


def _broken(outcome: Outcome) -> str:
    """Return which promises a fault broke, '' for none."""
    found = {
        'not recovered': not outcome.recovered,
        f'held after {1e3 * outcome.hold:.1f} ms': outcome.hold > 0.1,
        f'moved {1e3 * outcome.crept:.3f} mm without request': outcome.crept > CREPT,
        f'step of {1e3 * outcome.step:.2f} mm': 1e3 * outcome.step > STEP_LIMIT_MM,
        f'{1e3 * outcome.speed:.1f} mm/s': 1e3 * outcome.speed > SPEED_LIMIT_MM_S,
    }
    return ', '.join(text for text, is_so in found.items() if is_so)


def figures_of(series: Series, count: int = 1) -> Iterator[Figure]:
    """Return the figures of a series of so many faults."""
    found = [outcome for outcome in series.outcomes if np.isfinite(outcome.hold)]
    holds = 1e3 * np.array([outcome.hold for outcome in found])
    yield judge('kills', float(len(found)), '', at_least=float(count))
    yield judge('kills_minutes', series.seconds / 60.0, 'min')
    if not found:
        return
    yield judge('kill_hold_p50_ms', float(np.median(holds)), 'ms')
    yield judge('kill_hold_p999_ms', float(np.percentile(holds, 99.9)), 'ms', at_most=100.0)
    yield judge('kill_hold_worst_ms', float(holds.max()), 'ms')
    yield judge('kill_holds_late', float((holds > 100.0).sum()), '', at_most=0.0, peer=f'{len(found)} faults')
    for kind in ('SIGKILL', 'SIGSTOP', 'cut'):
        of_kind = [1e3 * outcome.hold for outcome in found if outcome.fault.kind == kind]
        yield judge(f'kills_{kind.lower()}', float(len(of_kind)), '')
        if of_kind:
            yield judge(f'kill_hold_{kind.lower()}_worst_ms', max(of_kind), 'ms', at_most=100.0)
    for process in PROCESSES:
        of_process = [1e3 * outcome.hold for outcome in found if outcome.fault.process == process]
        if of_process:
            worst = max(of_process)
            yield judge(f'kill_hold_{process}_worst_ms', worst, 'ms', at_most=100.0, peer=f'{len(of_process)} faults')
    yield judge('kill_returns_measured', float(sum(outcome.seen for outcome in found)), '')
    crept = [outcome for outcome in found if outcome.crept > CREPT]
    yield judge('kill_moved_without_request', float(len(crept)), '', at_most=0.0)
    gaps = sum(outcome.gaps for outcome in found)
    yield judge('kill_reconnect_step_mm', 1e3 * max(o.step for o in found), 'mm', at_most=STEP_LIMIT_MM)
    yield judge('kill_reconnect_gaps', float(gaps), '', peer='not heard or not sent: no step is judged over them')
    yield judge('kill_reconnect_speed_mm_s', 1e3 * max(o.speed for o in found), 'mm/s', at_most=SPEED_LIMIT_MM_S)
    lost = sum(not outcome.recovered for outcome in series.outcomes)
    yield judge('kill_not_recovered', float(lost), '', at_most=0.0)
