"""Bench `material` without recordings and without torch: what it says then."""

from twin_nodes.app.bench import material
from twin_nodes.app.bench.recordings import VARIABLE


def test_without_recordings_fits_are_held_against_a_simpler_search(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    figures = {figure.figure: figure for figure in material._fits(True)}
    assert f'no recordings {tmp_path}' in capsys.readouterr().err
    assert figures['sse_ratio_to_published_worst'].value <= 1.0
    assert 'simulated' in figures['sse_ratio_to_published_worst'].peer
    assert all(figure.ok for figure in figures.values())


def test_without_torch_its_figures_say_so(monkeypatch):
    monkeypatch.setattr(material, 'is_installed', lambda: False)
    figures = list(material._ensembles(True))
    assert 'torch_equal_error' in [figure.figure for figure in figures]
    assert all(figure.value is None and 'not installed' in figure.peer and figure.ok for figure in figures)


def test_stiffness_figures_come_from_runs():
    figures = {figure.figure: figure.value for figure in material._stiffness(12)}
    assert 0.0 < figures['stiffness_error_percent'] < figures['stiffness_error_before_percent']
    assert figures['stiffness_ratio_alone_said'] == 1.0
    assert 0.7 < figures['stiffness_coverage95'] <= 1.0
