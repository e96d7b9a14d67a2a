"""`twin link`: scenarios, keys, and what is said when something is wrong."""

import json
import socket

import pytest

from twin_nodes.app.cli import main
from twin_nodes.io.link_scenarios import scenario_names


def test_list_names_every_scenario(capsys):
    assert main(['link', 'list', '--json']) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line['name'] for line in lines] == scenario_names()


def test_show_gives_figures_for_both_directions(capsys):
    assert main(['link', 'show', 'asym', '--seconds', '5', '--json']) == 0
    forward, backward = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (forward['delay_p50_ms'], backward['delay_p50_ms']) == pytest.approx((40.0, 260.0))


def test_show_tells_of_silences_and_of_the_attacker(tmp_path, capsys):
    path = tmp_path / 'spells.yaml'
    path.write_text(
        'forward: {outage: {down: {law: constant, mean: 0.3}, up: {law: constant, mean: 0.5}}}\n'
        'attack: {replay: 0.2, flood: 5}\n'
    )
    assert main(['link', 'show', str(path), '--seconds', '80', '--json']) == 0
    forward, backward = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert forward['silence_max_ms'] == pytest.approx(305.0, abs=5.0)
    assert forward['silent_over_100_ms_percent'] == pytest.approx(25.0, abs=1.0)
    assert (backward['silence_max_ms'], backward['silent_over_100_ms_percent']) == pytest.approx((5.0, 0.0))
    assert (forward['attack_replay_percent'], forward['attack_flood_per_packet']) == (20.0, 5.0)
    assert 'attack_flip_percent' not in forward


def test_show_tells_how_far_the_clocks_come_apart(capsys):
    """N23: 200 ppm apart; steps of +1 and -1 s here, +1 h and -1 s there."""
    assert main(['link', 'show', 'clock', '--seconds', '50', '--rate', '10', '--json']) == 0
    for found in map(json.loads, capsys.readouterr().out.splitlines()):
        assert found['steady_clocks_apart_max_ms'] == pytest.approx(10.0)
        assert found['wall_clocks_apart_max_ms'] == pytest.approx(3.6e6, abs=10.0)
    assert main(['link', 'show', 'lan', '--seconds', '50', '--rate', '10', '--json']) == 0
    assert 'clocks' not in capsys.readouterr().out


def test_show_of_a_link_that_passes_nothing(tmp_path, capsys):
    path = tmp_path / 'dead.yaml'
    path.write_text('both: {loss: {probability: 1.0}}\n')
    assert main(['link', 'show', str(path), '--seconds', '1']) == 0
    assert 'loss_percent               100' in capsys.readouterr().out


def test_key_is_made_once(tmp_path, capsys):
    path = tmp_path / 'wan.key'
    assert main(['link', 'key', str(path)]) == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert main(['link', 'key', str(path)]) == 1
    assert 'never overwritten' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['show', 'N99'], 'nearest is'),
        (['show', 'none.yaml'], 'cannot be read'),
        (['relay', 'N0', '--to', 'nowhere'], 'HOST:PORT'),
    ],
)
def test_what_is_wrong_is_said(words, said, capsys):
    assert main(['link', *words]) == 1
    assert said in capsys.readouterr().err


def test_a_taken_port_is_said(capsys):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(('127.0.0.1', 0))
        port = str(taken.getsockname()[1])
        assert main(['link', 'relay', 'N0', '--leader-port', port, '--follower-port', '0']) == 1
    assert 'cannot be listened on' in capsys.readouterr().err
