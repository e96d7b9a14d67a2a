import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import random_transform
from twin_nodes.core.geometry.ties import TipShare
from twin_nodes.io import whole_files
from twin_nodes.io.results import StoredResult, read_result, write_result

DATE = '2026-01-31T12:00:00+00:00'


def stored(rng=None, **changes):
    rng = rng or np.random.default_rng(0)
    root = rng.normal(size=(6, 6)) * 1e-4
    values = {
        'kind': 'registration',
        'parent_frame': 'patient',
        'child_frame': 'anatomy',
        'parent_T_child': random_transform(rng),
        'covariance': root @ root.T,
        'errors': {'fre_m': 0.25e-3, 'fiducials_count': 8.0},
        'verdict': 'accept',
        'date': DATE,
        'reasons': ('Größe: σ above',),
        'data_sha256': 'a' * 64,
    }
    return StoredResult(**(values | changes))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_round_trip(tmp_path_factory, seed):
    path = tmp_path_factory.mktemp('results') / 'deep' / 'r.yaml'
    result = stored(np.random.default_rng(seed))
    write_result(path, result)
    again = read_result(path, kind='registration')
    np.testing.assert_allclose(again.parent_T_child, result.parent_T_child, atol=1e-15)
    np.testing.assert_array_equal(again.covariance, result.covariance)
    assert (again.errors, again.reasons, again.date) == (result.errors, result.reasons, result.date)
    assert again.data_sha256 == result.data_sha256
    assert again.software_version == result.software_version


def test_the_share_of_the_tip_is_kept_and_checked(tmp_path):
    rng = np.random.default_rng(3)
    share = TipShare(7, rng.normal(size=3), rng.normal(size=(6, 3)))
    path = tmp_path / 'r.yaml'
    write_result(path, stored(tool='stylus', tip_share=share))
    again = read_result(path).tip_share
    assert again.stamp_ns == 0  # from a file: known beforehand
    np.testing.assert_array_equal(again.tip, share.tip)
    np.testing.assert_array_equal(again.effect, share.effect)
    with pytest.raises(ConfigError, match='name the tool that touched'):
        write_result(path, stored(tip_share=share))
    with pytest.raises(ConfigError, match='of a registration'):
        write_result(path, stored(kind='tool_tip', tool='stylus', tip_share=share))
    with pytest.raises(ConfigError, match='tip_share: effect has shape'):
        write_result(path, stored(tool='stylus', tip_share=TipShare(0, share.tip, np.eye(6))))
    with pytest.raises(ConfigError, match='tip_share: tip_m has NaN'):
        write_result(path, stored(tool='stylus', tip_share=TipShare(0, np.full(3, np.nan), share.effect)))
    write_result(path, stored())
    assert read_result(path).tip_share is None


def test_writing_leaves_no_other_file_and_replaces_whole(tmp_path):
    path = tmp_path / 'r.yaml'
    write_result(path, stored())
    write_result(path, stored(verdict='warn'))
    assert [p.name for p in tmp_path.iterdir()] == ['r.yaml']
    assert read_result(path).verdict == 'warn'


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'r.yaml'
    write_result(path, stored())

    def full(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(whole_files.os, 'fsync', full)
    with pytest.raises(ConfigError, match='No space left'):
        write_result(path, stored(verdict='warn'))
    assert [p.name for p in tmp_path.iterdir()] == ['r.yaml']
    assert read_result(path).verdict == 'accept'


@pytest.mark.parametrize(
    ('changes', 'match'),
    [
        ({'kind': 'registraton'}, "kind='registraton' is none of .*did you mean 'registration'"),
        ({'verdict': 'fine'}, "verdict='fine'"),
        ({'covariance': np.diag([1, 1, 1, 1, 1, -1.0])}, 'negative eigenvalue'),
        ({'covariance': np.full((6, 6), np.nan)}, 'covariance has NaN'),
        ({'covariance': np.eye(6)[:5]}, 'shape'),
        ({'errors': {'fre': 1.0}}, 'errors.fre must end in its unit'),
        ({'errors': {'fre_m': np.inf}}, 'expected a finite number'),
        ({'date': '2026-01-31T12:00:00'}, 'no time zone'),
        ({'date': 'today'}, 'ISO 8601'),
        ({'data_sha256': 'abc'}, '64 hexadecimal'),
        ({'child_frame': 'patient'}, 'two different names'),
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path, changes, match):
    path = tmp_path / 'r.yaml'
    with pytest.raises(ConfigError, match=match):
        write_result(path, stored(**changes))
    assert not path.exists()


@pytest.mark.parametrize(
    ('old', 'new', 'match'),
    [
        ('position_m:', 'positon_m:', "unknown key 'positon_m'; did you mean 'position_m'"),
        ('format: 1', 'format: 7', 'format=7'),
        ('kind: registration', 'kind: 3', 'kind=3: expected text'),
        ('quat_xyzw: [', 'quat_xyzw: [9.0, ', r'quat_xyzw has shape \(5,\)'),
        ('position_m: [', 'position_m: [[1], ', 'position_m='),
        ('verdict: accept', 'verdict: accept\nverdict: [', 'not readable as YAML'),
        ('errors: {', 'errors: {fre_m: big, ', 'errors.fre_m'),
        ('format: 1\n', '', "key 'format' is missing"),
        ('format: 1', '!!python/object:os.system {}', 'not readable as YAML'),
    ],
)
def test_each_fault_is_named_with_its_file(tmp_path, old, new, match):
    path = tmp_path / 'r.yaml'
    write_result(path, stored(errors={'fle_m': 1.0}))
    text = path.read_text(encoding='utf-8')
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding='utf-8')
    with pytest.raises(ConfigError, match=match) as caught:
        read_result(path)
    assert 'r.yaml' in str(caught.value)


def test_wrong_kind_missing_and_empty_file(tmp_path):
    path = tmp_path / 'r.yaml'
    write_result(path, stored())
    with pytest.raises(ConfigError, match="kind='registration', expected 'tool_tip'"):
        read_result(path, kind='tool_tip')
    with pytest.raises(ConfigError, match='cannot be read'):
        read_result(tmp_path / 'none.yaml')
    path.write_text('')
    with pytest.raises(ConfigError, match='expected keys and values'):
        read_result(path)


def test_a_refused_result_is_not_usable(tmp_path):
    path = tmp_path / 'refused.yaml'
    write_result(path, stored(verdict='refuse', reasons=('FRE 9 mm',)))
    with pytest.raises(ConfigError, match=r'verdict is refuse.*FRE 9 mm'):
        read_result(path, usable=True)
    assert read_result(path).verdict == 'refuse'


def test_a_result_of_another_frame_is_refused(tmp_path):
    path = tmp_path / 'tip.yaml'
    write_result(path, stored())
    assert read_result(path, parent=stored().parent_frame).parent_frame == stored().parent_frame
    with pytest.raises(ConfigError, match=r"parent_frame=.*wants that of 'other_tool'"):
        read_result(path, parent='other_tool')
