"""Bench `telesurgery_kills`: the robot holds within 100 ms of the last valid command, whatever is killed.

Seven real processes on both sides of an emulated link: simulated hand, compensation and bridge of the surgeon's site,
the emulator, bridge and compensation of the patient's site, simulated robot. While the hand goes round, one of them
gets SIGKILL (and is started again) or SIGSTOP (and SIGCONT later), or the cable is cut and mended. Each fault begins as
soon as the robot follows and moves again. The hold counts from the last command that the follower could use: the last
one at its site, or the fault itself where that hits the follower's node or the robot; motion is that of the set points
and of the robot, at their own stamps. Ctrl-C or SIGTERM ends the series, with the figures so far.
"""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from twin_nodes.app.bench.telesurgery_faults import Fault, Outcome, Series, figures_of, plan, say_progress
from twin_nodes.app.telesurgery_judge import fastest, largest_step, last_motion
from twin_nodes.app.telesurgery_sites import WITHOUT_ANATOMY, TelesurgerySites
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array

LINK = 'metro-vpn'
SETTINGS = {
    'console': {'task': 'circle', 'rounds': 40_000, 'operator.near': 0.004, 'operator.max_speed': 0.02, 'touch': [],
                'decide': 0.02},
    'simulated_robot': {'task': 'none'},
    # short dwells of the modes, so that the next fault can follow soon; what makes the robot stand is that of the scene
    'compensation': {**WITHOUT_ANATOMY, 'follower.outage.outage_after': 0.2, 'follower.outage.back_after': 0.05,
                     'follower.outage.good_after': 0.1},
}  # fmt: skip
ARGUMENTS = {'resume': 'discard', 'through_outages': 'false'}
AT_FOLLOWER = ('follower_compensation', 'robot')  # what hits these leaves the commands as they are
MOVES = 0.005  # the robot must move before it can stop [m/s]
SPREAD_S, FAULT_S, RECOVER_S = 0.15, 0.35, 60.0
MOVES_WITHIN_S = 1.0
TRIES = 10
HEARD_NS = 100_000_000
GIVEN_UP = 20  # faults that the sites did not recover from; each costs RECOVER_S and a start of all nodes
STARTS = 3  # that may fail one after the other
SAID_LATE_S = 0.02  # a mode is said in its tick, whose set point has the stamp of the tick


def run(quick: bool = False) -> Iterator[dict[str, object]]:
    """Kill, stop and cut, a thousand times or two dozen times.

    Args:
        quick: Whether two dozen.

    Yields:
        Figures as mappings.
    """
    count = 24 if quick else 1000
    for figure in figures_of(kill_series(count, tell=say_progress), count):
        yield vars(figure)


def kill_series(
    count: int, *, rate: float = 200.0, seed: int = 1, tell: Callable[[Series, int], None] | None = None
) -> Series:
    """Run the series on real nodes; Ctrl-C and SIGTERM end it.

    Args:
        count: How many faults.
        rate: Commands and set points per second [Hz].
        seed: Seed of their order and moments.
        tell: Called after each fault.
    """
    rng = np.random.default_rng(seed)
    series = Series()
    rates: dict[str, dict[str, Any]] = {'console': {'rate': rate}, 'compensation': {'rate': rate}}
    settings = {name: {**values, **rates.get(name, {})} for name, values in SETTINGS.items()}
    faults, begin, failed = iter(plan(count, seed)), time.monotonic(), 0
    with _interruptible():
        while sum(not outcome.recovered for outcome in series.outcomes) < GIVEN_UP and len(series.outcomes) < count:
            with TelesurgerySites(LINK, settings, ARGUMENTS, keep=20_000) as sites:
                try:
                    sites.connect()
                except ConfigError as error:
                    failed += 1
                    if failed == STARTS:
                        raise
                    print(f'began anew: {error}', file=sys.stderr, flush=True)
                    continue
                failed = 0
                for fault in faults:
                    outcome = _until_moved(sites, fault, rng, series)
                    series.seconds = time.monotonic() - begin
                    series.outcomes.append(outcome)
                    if tell is not None:
                        tell(series, count)
                    if not outcome.recovered:  # begin anew: the faults to come must not suffer from this one
                        print(_standing(sites), file=sys.stderr, flush=True)
                        break
    return series


def _standing(sites: TelesurgerySites) -> str:
    """Return how the sites stand that did not come back: the last modes, what is not well, what was said last."""
    watch = sites.watch
    modes = ', '.join(name for _, name in watch.modes[-6:])
    ill = [f'  {said.name}: {said.code}: {said.message}' for said in watch.checks.values() if said.code != 'OK']
    return '\n'.join([f'  modes: {modes}; asked last: {watch.asked[-1:]}', *ill, *sites.lines[-6:]])


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end the series as Ctrl-C does, and both keep what was found."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print('stopped: figures of the faults so far', file=sys.stderr, flush=True)
    finally:
        signal.signal(signal.SIGTERM, before)


def _until_moved(sites: TelesurgerySites, fault: Fault, rng: np.random.Generator, series: Series) -> Outcome:
    """Do a fault while the robot moves; one before which it stood is done again."""
    for _ in range(TRIES):
        outcome = _inflict(sites, fault, SPREAD_S * rng.random())
        if outcome is not None:
            return outcome
        series.skipped += 1
    return Outcome(fault, float('nan'), recovered=False)


def _inflict(sites: TelesurgerySites, fault: Fault, before: float) -> Outcome | None:
    """Do one fault and judge it; None when the robot did not move before it."""
    watch = sites.watch
    if not sites.spin_until(lambda: watch.mode == 'connected', RECOVER_S):
        return Outcome(fault, float('nan'), recovered=False)
    sites.spin_until(lambda: watch.mode != 'connected' or (_moves(sites) and _hears(sites)), MOVES_WITHIN_S)
    sites.spin(before)
    if watch.mode != 'connected' or not (_moves(sites) and _hears(sites)):
        return None
    process = sites.process(fault.process)
    modes = len(watch.modes)
    is_cut = fault.kind == 'cut'
    fault_ns = sites.cut(True) if is_cut else sites.signal(process, signal.Signals[fault.kind])
    sites.spin(FAULT_S)
    if fault.kind == 'cut':
        sites.cut(False)
    elif fault.kind == 'SIGSTOP':
        sites.signal(process, signal.SIGCONT)
    # of modes that follow each other within milliseconds a late listener hears the last
    back = sites.spin_until(lambda: watch.mode == 'connected' and len(watch.modes) > modes, RECOVER_S)
    outcome = Outcome(fault, _hold(sites, fault, fault_ns), recovered=back)
    _judge_return(sites, outcome, fault_ns, modes)
    return outcome


def _moves(sites: TelesurgerySites) -> bool:
    told = sites.watch.told
    return _speed(*told.since(told.times[-1] - 60_000_000)) >= MOVES


def _hears(sites: TelesurgerySites) -> bool:
    """Whether all that times a hold is heard: of a process that began anew DDS may deliver nothing for a while."""
    watch, since = sites.watch, time.time_ns() - HEARD_NS
    return all(track.times and track.times[-1] > since for track in (watch.come, watch.told, watch.robot))


def _speed(times: Array, points: Array) -> float:
    """Return the mean speed of points [m/s]."""
    if len(times) < 2:
        return 0.0
    way = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    return way / float(times[-1] - times[0])


def _hold(sites: TelesurgerySites, fault: Fault, fault_ns: int) -> float:
    """Return the time from the last valid command to the last motion [s]; the window ends before anything resumes."""
    watch, end = sites.watch, FAULT_S - 0.02
    come, _ = watch.come.since(fault_ns - 200_000_000)
    come = come - 0.2
    last = 0.0 if fault.process in AT_FOLLOWER else float(come[come <= end].max(initial=-0.2))
    moved = -np.inf
    for track in (watch.told, watch.robot):
        times, points = track.since(fault_ns - 200_000_000)
        inside = times - 0.2 <= end
        moved = max(moved, last_motion(times[inside] - 0.2, points[inside]))
    return max(moved - last, 0.0)


def _judge_return(sites: TelesurgerySites, outcome: Outcome, fault_ns: int, modes: int) -> None:
    """Measure what moved before the operator's request, and how the robot came back."""
    watch = sites.watch
    told = watch.modes[modes:]
    number = next((i for i, (_, name) in enumerate(told) if name == 'catch-up'), None)
    if number is None:
        return
    outcome.seen = True
    asked_ns = told[number][0]
    times, points = watch.told.since(fault_ns)
    asked = (asked_ns - fault_ns) * 1e-9 - SAID_LATE_S
    still = (times > FAULT_S - 0.1) & (times < asked)
    if fault_is_of_robot(outcome.fault):
        still &= times > asked - 0.1  # the simulated robot starts anew at its home, and the set points there
    if still.sum() > 1:
        outcome.crept = float(np.linalg.norm(points[still] - points[still][0], axis=1).max())
    back = (times >= asked - 0.02) & (times < asked + 1.0)
    if back.sum() > 1:
        outcome.step, outcome.gaps = largest_step(times[back], points[back])
        outcome.speed = fastest(times[back], points[back])


def fault_is_of_robot(fault: Fault) -> bool:
    """Whether the robot itself was started anew, elsewhere."""
    return fault.process == 'robot' and fault.kind == 'SIGKILL'
