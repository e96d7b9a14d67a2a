"""Files read and written as a whole."""

import stat

import pytest

from twin_nodes.core.errors import ConfigError
from twin_nodes.io.whole_files import read_bytes_whole, read_text_whole, write_bytes_whole, write_text_whole
from twin_nodes.io.yaml_files import read_mapping


def test_round_trip_in_a_new_folder(tmp_path):
    path = tmp_path / 'new' / 'a.yaml'
    write_text_whole(path, 'ä: 1\n')
    assert read_mapping(path, 'thing') == {'ä': 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ['a.yaml']


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / 'a.txt'
    write_bytes_whole(path, b'\xef\xbb\xbfa')
    assert read_text_whole(path, 'thing') == 'a'


def test_refuses_what_is_too_large_absent_or_no_text(tmp_path):
    path = tmp_path / 'a.bin'
    write_bytes_whole(path, b'\xff' * 100)
    with pytest.raises(ConfigError, match='no text: expected a thing'):
        read_text_whole(path, 'thing')
    with pytest.raises(ConfigError, match='above 0 MiB: no thing'):
        read_bytes_whole(path, 'thing', most=99)
    for absent in (tmp_path / 'b', tmp_path, 'a\0b'):
        with pytest.raises(ConfigError, match='cannot be read'):
            read_bytes_whole(absent, 'thing')


def test_refuses_what_holds_no_keys(tmp_path):
    path = tmp_path / 'a.yaml'
    write_text_whole(path, '- 1\n')
    with pytest.raises(ConfigError, match='expected keys and values, got list: no thing'):
        read_mapping(path, 'thing')


def test_refuses_a_place_that_cannot_be_written(tmp_path):
    write_text_whole(tmp_path / 'file', '')
    with pytest.raises(ConfigError, match='cannot be written'):
        write_text_whole(tmp_path / 'file' / 'below', '')
