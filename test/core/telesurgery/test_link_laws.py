"""The laws of the link emulator against their published or analytic figures, and its fates against one another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.telesurgery.link.config import (
    DelayConfig,
    DirectionConfig,
    LinkConfig,
    LossConfig,
    SiteClockConfig,
    gilbert_elliott,
)
from twin_nodes.core.telesurgery.link.delays import quantile
from twin_nodes.core.telesurgery.link.direction import LinkDirection
from twin_nodes.core.telesurgery.link.losses import mean_runs
from twin_nodes.core.telesurgery.link.scenario import Scenario, link_config
from twin_nodes.core.telesurgery.link.site_clock import SiteClock
from twin_nodes.core.telesurgery.link.trace import DelayTrace, Opportunities
from twin_nodes.io.link_scenarios import all_scenarios, load_scenario

PERIOD_NS = 5_000_000
NAMES = [scenario.config.name for scenario in all_scenarios()]


def times(count, period_ns=PERIOD_NS):
    return np.arange(count) * period_ns


def fates(name, count=100_000, seed=1, size=100):
    return load_scenario(name).link(seed).forward.fates(times(count), size)


@pytest.mark.parametrize(
    ('name', 'mean_ms', 'sd_ms'), [('N11', 100.0, 33.9), ('N12', 299.2, 90.2), ('N13', 500.1, 95.2)]
)
def test_netfi_delays_have_their_published_means(name, mean_ms, sd_ms):
    delay_ms = 1e3 * fates(name).delay_s
    # standard error of 100,000 draws: 0.3 ms of 500, below the 1 % asked for
    assert delay_ms.mean() == pytest.approx(mean_ms, rel=0.01)
    assert delay_ms.std() == pytest.approx(sd_ms, rel=0.02)


@pytest.mark.parametrize(('name', 'percent', 'run'), [('N8', 9.8, 1.4), ('N9', 30.4, 1.8), ('N10', 50.4, 2.5)])
def test_netfi_losses_are_as_published(name, percent, run):
    lost = fates(name, 300_000).lost
    assert 100.0 * lost.mean() == pytest.approx(percent, abs=0.5)
    assert mean_runs(lost) == pytest.approx(run, abs=0.06)


@pytest.mark.parametrize(('name', 'share'), [('N14', 15.0), ('N15', 33.3), ('N16', 50.0), ('N17', 20.0)])
def test_outages_take_their_share_of_time(name, share):
    # 50 Hz over 5,000 s: at least 500 outages; the share then has a standard error below 0.5 points
    direction = load_scenario(name).link(3).forward
    lost = direction.fates(times(250_000, 20_000_000)).lost
    assert 100.0 * lost.mean() == pytest.approx(share, abs=1.5)


def test_the_first_handover_comes_within_a_transfer_and_then_every_half_minute():
    times = np.arange(0, 75_000_000_000, 10_000_000)
    fates = load_scenario('N19').link(0).forward.fates(times)
    down_s = times[fates.lost] * 1e-9
    assert np.unique(np.round(down_s // 1.0)).tolist() == [9.0, 39.0, 69.0]
    assert len(down_s) == pytest.approx(84, abs=3)
    delays = fates.arrival_ns - fates.sent_ns
    for start, delay_ms in ((5.0, 20), (20.0, 60), (45.0, 20), (65.0, 20), (72.0, 60)):
        assert delays[int(start * 100)] == delay_ms * 1_000_000


def test_an_outage_is_one_for_both_directions():
    link = load_scenario('jhu-outage').link(5)
    np.testing.assert_array_equal(link.forward.fates(times(4000)).lost, link.backward.fates(times(4000)).lost)


@pytest.mark.parametrize('loss', [0.03, 0.1, 0.3])
def test_gilbert_elliott_has_the_loss_and_burst_it_is_asked_for(loss):
    p, r = gilbert_elliott(loss, 4.0)
    direction = LinkDirection(DirectionConfig(loss=LossConfig(good_to_bad=p, bad_to_good=r)), seed=1)
    lost = direction.fates(times(400_000)).lost
    assert lost.mean() == pytest.approx(loss, rel=0.05)
    assert mean_runs(lost) == pytest.approx(4.0, rel=0.05)


def test_spells_are_the_same_whatever_the_rate_of_packets():
    p, r = gilbert_elliott(0.1, 4.0)
    config = DirectionConfig(loss=LossConfig(good_to_bad=p, bad_to_good=r))
    slow = LinkDirection(config, seed=1).fates(times(5_000, 20_000_000)).lost
    quick = LinkDirection(config, seed=1).fates(times(100_000, 1_000_000)).lost
    np.testing.assert_array_equal(slow, quick[::20])


@pytest.mark.parametrize(
    'config',
    [
        DelayConfig(law='normal', sigma=0.01),
        DelayConfig(law='lognormal', median=0.01, shape=0.7),
        DelayConfig(law='pareto', scale=0.01, alpha=3.0),
        DelayConfig(law='hyperexponential', weights=(0.8, 0.2), means=(0.005, 0.05)),
    ],
    ids=lambda config: config.law,
)
def test_quantiles_agree_with_scipy(config):
    from scipy import stats

    u = np.linspace(0.001, 0.999, 400)
    x = quantile(config, u)
    cdf = {
        'normal': lambda: stats.norm(0.0, 0.01).cdf(x),
        'lognormal': lambda: stats.lognorm(0.7, scale=0.01).cdf(x),
        'pareto': lambda: stats.lomax(3.0, scale=0.01).cdf(x),
        'hyperexponential': lambda: 0.8 * stats.expon(scale=0.005).cdf(x) + 0.2 * stats.expon(scale=0.05).cdf(x),
    }[config.law]()
    np.testing.assert_allclose(cdf, u, atol=1e-5)


def test_correlated_delays_keep_their_law_and_hardly_overtake():
    law = DelayConfig(law='lognormal', base=0.05, median=0.02, shape=0.8, correlation=0.5, fifo=False)
    alone = DelayConfig(law='lognormal', base=0.05, median=0.02, shape=0.8, fifo=False)
    correlated = LinkDirection(DirectionConfig(delay=law), seed=2).fates(times(60_000))
    independent = LinkDirection(DirectionConfig(delay=alone), seed=2).fates(times(60_000))
    for percent in (10, 50, 90):
        # 300 s hold about 600 independent delays
        assert np.percentile(correlated.delay_s, percent) == pytest.approx(
            np.percentile(independent.delay_s, percent), rel=0.08
        )
    overtakes = [(np.diff(each.arrival_ns) < 0).mean() for each in (correlated, independent)]
    assert overtakes[0] < 0.5 * overtakes[1]


def test_queue_holds_its_bytes_and_drops_the_tail():
    found = fates('squeeze', 20_000, size=300)  # 200 Hz x 328 B = 525 kb/s into 256 kb/s
    late = found.delay_s[2000:]
    assert late.max() == pytest.approx(0.05 + 65536 * 8 / 256e3, rel=0.01)
    assert found.lost[4000:].mean() == pytest.approx(1.0 - 256.0 / (200 * 328 * 8e-3), abs=0.01)


def test_mahimahi_opportunities_deliver_1500_bytes_each():
    slots = Opportunities([10, 10, 30])
    direction = LinkDirection(
        link_config({'both': {'bandwidth': {'overhead_bytes': 0}}}).forward, seed=0, opportunities=slots
    )
    arrivals = [
        direction.send(0, 1500)[0],
        direction.send(0, 750)[0],
        direction.send(0, 750)[0],
        direction.send(0, 1500)[0],
    ]
    assert arrivals == [10_000_000, 10_000_000, 10_000_000, 30_000_000]
    assert direction.send(0, 3000)[0] == 40_000_000  # the next lap begins after the last stamp


def test_trace_is_replayed_by_time_and_repeated():
    trace = DelayTrace(np.array([0.0, 1.0, 2.0]), np.array([0.1, 0.2, 0.3]))
    config = link_config({'forward': {'delay': {'law': 'trace', 'trace_file': 'x', 'trace_scale': 0.5, 'fifo': False}}})
    direction = LinkDirection(config.forward, seed=0, trace=trace)
    delays = [direction.send(t, 1)[0] - t for t in (0, 500_000_000, 1_500_000_000, 2_900_000_000, 3_200_000_000)]
    assert delays == [50_000_000, 50_000_000, 100_000_000, 150_000_000, 50_000_000]


def test_step_and_ramp_follow_their_profile():
    step, ramp = load_scenario('step').link(1).forward, load_scenario('ramp').link(1).forward
    at = np.array([5.0, 15.0, 25.0]) * 1e9
    for direction, expected in ((step, [0.05, 0.3, 0.3]), (ramp, [0.05, 0.175, 0.3])):
        delays = [direction._delay(int(t)) * 1e-9 for t in at]
        assert delays == pytest.approx(expected)


def test_clock_steps_touch_the_wall_and_not_the_monotonic_clock():
    clock = SiteClock(SiteClockConfig(offset=2.0, skew_ppm=100.0, step_times=(10.0, 20.0), steps=(1.0, -3.0)))
    hour = 3_600_000_000_000
    assert clock.monotonic_ns(hour) - hour == 2_000_000_000 + 360_000_000
    assert [clock.wall_ns(t) - clock.monotonic_ns(t) for t in (9_999_999_999, 10**10, hour)] == [0, 10**9, -2 * 10**9]


@pytest.mark.parametrize('name', NAMES)
def test_same_seed_same_fate_and_another_seed_another_weather(name):
    first, again = fates(name, 3000), fates(name, 3000)
    np.testing.assert_array_equal(first.arrival_ns, again.arrival_ns)
    np.testing.assert_array_equal(first.second_ns, again.second_ns)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    gaps=st.lists(st.integers(0, 50_000_000), min_size=1, max_size=200),
    cut=st.integers(0, 200),
    seed=st.integers(0, 2**32),
)
def test_one_by_one_in_parts_or_at_once_is_the_same_fate(name, gaps, cut, seed):
    stamps = np.cumsum(gaps)
    sizes = [100 + gap % 1000 for gap in gaps]
    scenario = load_scenario(name)
    whole = scenario.link(seed).forward.fates(stamps, sizes)
    parts = scenario.link(seed).forward
    joined = np.concatenate(
        [parts.fates(stamps[:cut], sizes[:cut]).arrival_ns, parts.fates(stamps[cut:], sizes[cut:]).arrival_ns]
    )
    single = scenario.link(seed).forward
    alone = [(single.send(int(t), size) or (-1,))[0] for t, size in zip(stamps, sizes, strict=True)]
    np.testing.assert_array_equal(whole.arrival_ns, joined)
    np.testing.assert_array_equal(whole.arrival_ns, alone)
    arrived = ~whole.lost
    assert (whole.arrival_ns[arrived] >= stamps[arrived]).all(), 'nothing arrives before it is sent'
    if scenario.config.forward.delay.fifo and not scenario.config.forward.reorder_probability:
        assert (np.diff(whole.arrival_ns[arrived]) >= 0).all()


def test_refuses_what_cannot_be():
    with pytest.raises(InputError, match='must not fall'):
        LinkDirection(DirectionConfig(), seed=0).fates([10, 5])
    with pytest.raises(ConfigError, match='must be below 1'):
        LossConfig(good_to_bad=0.6, bad_to_good=0.6)
    with pytest.raises(ConfigError, match=r'both.delay.bas.*did you mean'):
        link_config({'both': {'delay': {'bas': 0.1}}})
    with pytest.raises(ConfigError, match=r'nearest is .geo'):
        load_scenario('geos')
    with pytest.raises(ConfigError, match='were not given'):
        Scenario(link_config({'forward': {'delay': {'law': 'trace', 'trace_file': 'x'}}})).link(1)
    with pytest.raises(ConfigError):
        gilbert_elliott(1.0, 4.0)


def test_all_scenarios_are_there_with_a_source():
    configs = [scenario.config for scenario in all_scenarios()]
    assert {f'N{i}' for i in range(26)} <= {config.name for config in configs}
    assert all(isinstance(config, LinkConfig) and config.title and config.source for config in configs)
    assert len({config.title for config in configs}) == len(configs)
