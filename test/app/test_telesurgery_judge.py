"""What telesurgery is judged by, on made-up runs whose truth is known."""

import signal
from types import SimpleNamespace

import numpy as np
import pytest

from twin_nodes.app.bench import telesurgery_kills
from twin_nodes.app.bench.telesurgery_faults import Fault, Outcome, Series, figures_of, plan, say_progress
from twin_nodes.app.bench.telesurgery_live import crept, followed
from twin_nodes.app.bench.telesurgery_soak import Sample, memory_curve, memory_slope
from twin_nodes.app.demo_telesurgery import score_telesurgery, wall_clearances
from twin_nodes.app.telesurgery_judge import holds, largest_step, last_motion, path_error, residual_loss, returns
from twin_nodes.app.telesurgery_sites import PROCESSES
from twin_nodes.app.telesurgery_watch import Track
from twin_nodes.core.errors import ConfigError

START_NS, TICK_NS = 10**18, 5_000_000


def made(*, lag=60, stops=None, resumes=None, off=0.0, creep=0.0):
    """A run of 20 s on a circle; the commands stop at a tick and come again, the robot stands after 80 ms."""
    watch = SimpleNamespace(
        said=Track(), come=Track(), told=Track(), modes=[(START_NS, 'connected')], asked=[], seen_ages=[0.3],
        apart=[0.01], forces=[0.0, 1.0], checks={},
    )  # fmt: skip
    at = 0
    for tick in range(4000):
        now_ns = START_NS + tick * TICK_NS
        angle = 2.0 * np.pi * tick / 1000.0
        point = (0.02 * np.cos(angle), 0.02 * np.sin(angle), 0.06)
        watch.said.add(now_ns, point)
        away = stops is not None and stops <= tick < resumes
        if not away:
            watch.come.add(now_ns, point)
        if not away or tick < stops + 16:
            at = tick
        played = max(at - lag, 0)
        x, y, z = watch.said.points[played]
        slow = creep * (tick - stops - 60) if away and tick > stops + 60 else 0.0
        watch.told.add(now_ns, (x + off + slow, y, z))
        if away and tick == stops + 60:
            watch.modes += [(now_ns, 'outage'), (now_ns + 50_000_000, 'hold')]
        if resumes is not None and tick == resumes:
            watch.asked.append((now_ns - 10_000_000, 'discard'))
            watch.modes += [(now_ns, 'catch-up'), (now_ns + 100_000_000, 'degraded')]
    return watch


def test_a_robot_that_lags_is_still_on_the_path():
    rms, worst = path_error(made())
    assert rms < 1e-6
    assert worst < 1e-5
    rms, _ = path_error(made(off=0.0005))
    assert 1e-4 < rms < 6e-4


def test_a_hold_is_timed_from_the_last_command():
    watch = made(stops=2000, resumes=2400)
    assert holds(watch) == [pytest.approx(0.08, abs=0.006)]
    assert crept(watch) == 0.0
    assert crept(made(stops=2000, resumes=2400, creep=1e-6)) > 1e-4
    assert len(returns(watch)) == 1


def test_the_first_second_after_a_return_counts_in_every_mode_and_a_replay_from_motion_is_no_return():
    watch = SimpleNamespace(told=Track(), modes=[])
    watch.modes += [(START_NS, 'hold'), (START_NS + 10**9, 'catch-up'), (START_NS + 11 * 10**8, 'degraded')]
    watch.modes += [(START_NS + 3 * 10**9, 'catch-up'), (START_NS + 35 * 10**8, 'connected')]
    x, speeds = 0.0, [(1.0, 0.0), (1.1, 0.01), (1.8, 0.03), (3.0, 0.06), (5.0, 0.1)]
    for tick in range(1000):
        x += next(speed for end, speed in speeds if tick * 0.005 < end) * 0.005
        watch.told.add(START_NS + tick * TICK_NS, (x, 0.0, 0.0))
    found = returns(watch)
    assert [one.speed for one in found] == [pytest.approx(0.06, rel=1e-6)]
    assert found[0].step == pytest.approx(0.0003)


def test_what_was_not_heard_is_no_step_of_the_robot():
    times = np.arange(100) * 0.005
    points = np.zeros((100, 3))
    points[:, 0] = 0.019 * times
    heard = np.delete(np.arange(100), np.arange(40, 52))  # 65 ms, 1.2 mm
    assert largest_step(times[heard], points[heard]) == (pytest.approx(9.5e-5), 1)
    points[70:, 0] += 0.002  # a jump between neighbours stays one
    step, gaps = largest_step(times[heard], points[heard])
    assert (step, gaps) == (pytest.approx(2.095e-3), 1)
    assert largest_step(times[:1], points[:1]) == (0.0, 0)


def test_what_stands_has_not_moved():
    times = np.arange(10) * 0.005
    assert last_motion(times, np.zeros((10, 3))) == -np.inf
    points = np.zeros((10, 3))
    points[4:, 0] = 0.001
    assert last_motion(times, points) == pytest.approx(times[4])


def test_lost_commands_are_counted():
    assert residual_loss(made()) == 0.0
    watch = made(stops=2000, resumes=2400)
    assert 0.05 < residual_loss(watch) <= 0.4


def test_memory_that_grows_is_told_from_noise():
    rng = np.random.default_rng(0)
    flat = [Sample(float(t), 0.0, 1e8 + rng.normal(0.0, 2e5)) for t in range(0, 3600, 5)]
    assert abs(memory_slope(flat)) < 0.1
    grows = [Sample(one.time, 0.0, one.memory + 2**20 * 10.0 * one.time / 3600.0) for one in flat]
    assert memory_slope(grows) == pytest.approx(10.0, abs=0.2)


def test_every_process_gets_its_share_of_the_faults():
    faults = plan(1000)
    for kind, least in (('SIGKILL', 14), ('SIGSTOP', 80)):
        assert all(sum(fault == Fault(kind, name) for fault in faults) >= least for name in PROCESSES)
    assert sum(fault.kind == 'cut' for fault in faults) >= 300
    assert plan(1000) == faults
    assert plan(1000, seed=2) != faults


def test_a_late_hold_breaks_the_promise():
    good = [Outcome(Fault('SIGSTOP', 'console'), 0.08, step=1e-4, speed=0.015) for _ in range(50)]
    assert all(figure.ok for figure in figures_of(Series(good)))
    late = [*good, Outcome(Fault('cut', 'emulator'), 0.15)]
    broken = {figure.figure for figure in figures_of(Series(late)) if not figure.ok}
    assert {'kill_holds_late', 'kill_hold_cut_worst_ms', 'kill_hold_p999_ms'} <= broken
    assert not all(figure.ok for figure in figures_of(Series()))
    lost = [*good, Outcome(Fault('SIGKILL', 'robot'), 0.05, recovered=False)]
    assert 'kill_not_recovered' in {figure.figure for figure in figures_of(Series(lost)) if not figure.ok}


def test_the_demo_is_judged_by_its_promises():
    figures = {figure.figure: figure for figure in score_telesurgery(made(stops=2000, resumes=2400), {})}
    assert figures['path_error_rms_mm'].ok
    assert figures['hold_worst_ms'].ok
    assert figures['outages'].value == 1.0
    assert not {figure.figure for figure in score_telesurgery(made(off=0.002), {}) if figure.ok} & {'path_error_rms_mm'}
    silent = made()
    silent.modes.clear()
    assert 'robot_followed' in {figure.figure for figure in score_telesurgery(silent, {}) if not figure.ok}


def test_the_wall_stands_around_the_nerve():
    high, low = wall_clearances(np.array([[0.0, 0.0, 0.05], [0.0, 0.0, 0.0125]]))
    assert high > 0.01
    assert low < 0.0


def test_a_series_that_is_stopped_keeps_what_it_found(monkeypatch, capsys):
    """Ctrl-C and SIGTERM both come as KeyboardInterrupt while the series waits."""

    class Sites:
        def __init__(self, *args, **kwargs):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

        def connect(self):
            pass

    def inflict(sites, fault, before):
        assert 0.0 <= before <= telesurgery_kills.SPREAD_S
        if len(told) == 3:
            signal.raise_signal(signal.SIGTERM)
        return Outcome(fault, 0.07)

    told = []
    monkeypatch.setattr(telesurgery_kills, 'TelesurgerySites', Sites)
    monkeypatch.setattr(telesurgery_kills, '_inflict', inflict)
    series = telesurgery_kills.kill_series(10, tell=lambda series, count: told.append((len(series.outcomes), count)))
    assert told == [(1, 10), (2, 10), (3, 10)]
    assert 'so far' in capsys.readouterr().err
    figures = {figure.figure: figure for figure in figures_of(series, 10)}
    assert figures['kill_hold_p999_ms'].ok
    assert figures['kills'].value == 3.0
    assert not figures['kills'].ok
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_fault_that_breaks_a_promise_is_told_at_once(capsys):
    fault = Fault('SIGSTOP', 'robot')
    say_progress(Series([Outcome(fault, 0.07)]), 30)
    assert not capsys.readouterr().err
    say_progress(Series([Outcome(fault, 0.1012, crept=1e-4, step=8e-4, recovered=False)]), 30)
    told = capsys.readouterr().err
    assert (
        told
        == '1: SIGSTOP of robot: not recovered, held after 101.2 ms, moved 0.100 mm without request, step of 0.80 mm\n'
    )


def test_a_series_goes_on_with_fresh_nodes_after_a_fault_without_return(monkeypatch, capsys):
    starts, tried = [], []

    class Sites:
        def __init__(self, *args, **kwargs):
            said = SimpleNamespace(name='relay: link', code='LINK_CUT', message='cut')
            self.watch = SimpleNamespace(modes=[(0, 'outage')], asked=[], checks={'relay: link': said})
            self.lines = ['[relay] a line']

        def __enter__(self):
            starts.append(self)
            return self

        def __exit__(self, *args):
            pass

        def connect(self):
            if len(starts) == 2:  # a start that fails is tried again
                raise ConfigError('the robot did not follow')

    def inflict(sites, fault, before):
        tried.append(fault)
        return Outcome(fault, 0.07, recovered=len(tried) % 10 != 4)

    monkeypatch.setattr(telesurgery_kills, 'TelesurgerySites', Sites)
    monkeypatch.setattr(telesurgery_kills, '_inflict', inflict)
    series = telesurgery_kills.kill_series(40)
    assert tried == plan(40)
    assert len(starts) == 1 + 4 + 1
    figures = {figure.figure: figure for figure in figures_of(series, 40)}
    assert figures['kills'].value == 40.0
    assert figures['kill_not_recovered'].value == 4.0
    assert not figures['kill_not_recovered'].ok
    assert 'LINK_CUT' in capsys.readouterr().err


def test_the_curve_of_memory_names_the_minutes_that_were_reached():
    samples = [Sample(1000.0 + 5.0 * i, 0.0, 100.0 + i) for i in range(190)]  # 15 min 45 s
    assert memory_curve(samples) == [(5.0, 160.0 + 1.0), (15.0, 280.0 + 1.0)]
    assert memory_curve([]) == []


def test_a_standing_resume_is_judged_by_the_returns_that_one_request_gave():
    watch = made(stops=2000, resumes=2400)
    watch.asked = [(START_NS + 1500 * TICK_NS, 'follow')]
    figures = {one.figure: one for one in followed(watch)}
    assert (figures['live_follow_returns_per_request'].value, figures['live_follow_returns_per_request'].ok) == (
        1.0,
        False,
    )
    watch.modes += [(START_NS + tick * TICK_NS, mode) for tick in (2600, 2800) for mode in ('outage', 'catch-up')]
    figures = {one.figure: one for one in followed(watch)}
    assert (figures['live_follow_returns_per_request'].value, figures['live_follow_returns_per_request'].ok) == (
        3.0,
        True,
    )
    assert figures['live_follow_hold_worst_ms'].value == pytest.approx(80.0, abs=6.0)
    watch.asked = []
    assert next(followed(watch)).value == 0.0
