"""`twin metrics`: measures from bags, and a score among several."""

import json

import pytest

from twin_nodes.app.bench.replay_room import write_room_bag
from twin_nodes.app.metrics import measure_bag, print_metrics
from twin_nodes.core.errors import InputError


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp('bags')
    for seed in (1, 2):
        write_room_bag(folder / f'trial{seed}', seconds=3.0, seed=seed)
    return [folder / 'trial1', folder / 'trial2']


def test_measures_each_tool_of_a_bag(bags):
    trial = measure_bag(bags[0])
    assert set(trial.motions) == {'/patient/measured_cp', '/drill/measured_cp'}
    drill = trial.motions['/drill/measured_cp']
    assert drill.time == pytest.approx(3.0, abs=0.05)
    assert drill.path_length > trial.motions['/patient/measured_cp'].path_length


def test_scores_trials_among_each_other(bags, capsys):
    assert print_metrics(bags, as_json=True) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line['bag'] for line in lines] == [str(bag) for bag in bags]
    assert all(0.0 <= line['score']['/drill/measured_cp'] <= 1.0 for line in lines)


def test_says_what_the_bag_has_when_a_topic_is_missing(bags):
    with pytest.raises(InputError, match=r'no pose or wrench on /saw/measured_cp; it has /drill/measured_cp'):
        measure_bag(bags[0], topics=('/saw/measured_cp',))
