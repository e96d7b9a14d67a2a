"""The bench `tf` gives its figures, and buffer and peer agree."""

import numpy as np

from twin_nodes.app.bench import tf


def test_figures_have_their_names_and_the_answers_agree(monkeypatch):
    monkeypatch.setattr(tf, 'GOALS', dict.fromkeys(tf.GOALS, 1.0))  # speed is for the bench; a test shares its machine
    figures = tf.run(quick=True)
    assert [figure['figure'] for figure in figures] == ['lookups_per_s_1', 'lookups_per_s_5', 'lookups_per_s_20']
    for figure in figures:
        assert set(figure) == {'figure', 'value', 'unit', 'goal', 'peer', 'ratio', 'ok'}
        assert figure['ok'], figure
        assert figure['ratio'] > 0.0


def test_a_wrong_answer_is_not_ok(monkeypatch):
    monkeypatch.setattr(tf.MatrixChain, 'lookup', lambda *_: np.zeros((4, 4)))
    assert not tf._measure(1, count=50, rounds=1)['ok']
