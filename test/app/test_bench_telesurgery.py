"""The page of bench telesurgery: every cell, intervals, self-contained; the work spread over processes is in order."""

import math
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from twin_nodes.app.bench.telesurgery_safety import BRIDGED, figures, worst_of
from twin_nodes.app.bench.telesurgery_table import interval, table, wilson
from twin_nodes.app.bench.telesurgery_trials import Job, loss_percent, trials
from twin_nodes.app.figures import judge
from twin_nodes.core.telesurgery.operator.direct import Transfer
from twin_nodes.core.telesurgery.operator.study import ROWS, fit_row
from twin_nodes.core.telesurgery.operator.trial import MODES, TrialResult

VOID = {'meta', 'br'}


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.cells, self.links = [], 0, []

    def handle_starttag(self, tag, attrs):
        self.cells += tag == 'td'
        self.links += [value for name, value in attrs if name in ('src', 'href')]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def transfers(seconds, success=True):
    return tuple(Transfer(s, success, 0, 1, 0, 0.0, 0.5) for s in seconds)


def results(seconds, success=True, path=1e-4):
    return [TrialResult(each, path, path) for each in transfers(seconds, success)]


def page():
    names = ['N0', 'N<9>']
    found = {Job(name, mode): results([22.0, 23.0, 24.0]) for name in names for mode in MODES}
    found[Job('N<9>', 'twin')] = results([120.0] * 3, success=False, path=math.nan)
    normal = transfers([21.0, 22.0, 23.0])
    rows = [fit_row('', normal, normal), *(fit_row(name, transfers([30.0, 31.0]), normal) for name in ROWS)]
    figures = [judge('all_hold_ms', 90.0, 'ms', at_most=100.0), judge('all_reconnect_step_mm', 0.9, 'mm', at_most=0.5)]
    worst = {
        name: worst_of([one for mode in BRIDGED for one in found[Job(name, mode)]], loss)
        for name, loss in zip(names, (0.0, 30.0), strict=True)
    }
    return table(names, found, found[Job('N0', 'direct')], rows, figures, worst)


def test_the_page_is_whole_and_asks_for_nothing_from_outside():
    text = page()
    parser = Page()
    parser.feed(text)
    assert parser.open in ([], ['html'])
    assert not parser.links
    assert 'http' not in text
    assert '<script' not in text
    assert parser.cells == 2 * len(MODES) + 2 * 3 + 2 * 8 + 5 * len(ROWS)


def test_the_page_tells_what_failed():
    text = page()
    assert 'N&lt;9&gt;' in text
    assert 'never followed' in text
    assert 'class="bad">0.9 mm' in text
    assert 'class="ok">90 ms' in text


def test_a_broken_promise_of_one_scenario_is_told():
    good = TrialResult(transfers([22.0])[0], 1e-5, 1e-4, hold_longest=0.09, forged_refused=7, felt=3)
    late = replace(good, hold_longest=0.12, forged_applied=1, lowest_energy=-2e-4)
    runs = {Job(name, 'twin'): [good] for name in ('N0', 'N1')}
    worst = {'N0': worst_of([good], 0.0), 'N1': worst_of([good, late], 0.0)}
    told = {figure.figure: figure for figure in figures(['N0', 'N1'], worst, runs)}
    broken = {name for name, figure in told.items() if not figure.ok}
    assert broken == {'all_hold_ms', 'all_forged_applied', 'all_passivity_lowest_energy_uj'}
    assert told['all_forged_applied'].peer == '21 refused'
    assert worst['N1'].felt == 1.0


def test_intervals():
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.3027 / math.sqrt(3)), rel=1e-4)
    low, high = wilson(6, 6)
    assert (low, high) == (pytest.approx(0.61, abs=0.01), pytest.approx(1.0))


def test_loss_is_that_of_the_scenario():
    assert loss_percent('N0') == 0.0
    assert 20.0 < loss_percent('GE30') < 40.0


def test_a_cluster_that_is_not_there_is_told(monkeypatch):
    from twin_nodes.core.errors import ConfigError

    monkeypatch.setenv('DASK_SCHEDULER_ADDRESS', 'tcp://127.0.0.1:1')
    monkeypatch.setitem(__import__('sys').modules, 'distributed', None)
    with pytest.raises(ConfigError, match='pip install distributed'):
        trials([Job('N0', 'direct')], 1)
