"""The one reader of YAML: what it gives, and that nothing gets past it but a value or one kind of refusal."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.yaml_text import key_lines, parse_yaml

SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=8)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
)


@given(DOCUMENTS)
def test_gives_what_was_written(document):
    assert parse_yaml(yaml.safe_dump(document), 'f') == document


@given(st.text(alphabet='ab1 \n\t:-?[]{}<&*!|>\'"#%@,.~=', max_size=40) | st.binary(max_size=30))
def test_gives_a_value_or_refuses(text):
    try:
        parse_yaml(text, 'f')
    except ConfigError as error:
        assert str(error).startswith('f:')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a: 1\nb: 2\na: 3', "^f:3: 'a' stands twice"),
        ('x:\n  - {b: 1, b: 2}', "^f:2: 'b' stands twice"),
        ('a: [', '^f:2: not readable as YAML: '),
        ('a: 1\n---\nb: 2', '^f:2: not readable as YAML: but found another document'),
        ('!!python/object:os.system {}', 'not readable as YAML'),
        ('!!timestamp x', 'not readable as YAML'),
        ("!!int ''", 'not readable as YAML'),
        ('? [a]\n: b', 'not readable as YAML'),
        ('\x00', 'not readable as YAML'),
        ('\ud800', 'not readable as YAML'),
        ('[' * 100_000 + ']' * 100_000, 'not readable as YAML'),
        ('a: &a [1, *a]', '^f:1: a value that holds itself'),
        (
            'a0: &a0 [1]\n' + ''.join(f'a{n}: &a{n} [{f"*a{n - 1}, " * 10}]\n' for n in range(1, 9)),
            '^f:8: above 4000000 values',
        ),
        ('a' * 2_000_000, 'above 1024 KiB'),
    ],
    ids=lambda value: str(value)[:24],
)
def test_refuses(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, 'f')


def test_a_merged_key_may_be_given_anew():
    assert parse_yaml('a: &a {b: 1, c: 1}\nd:\n  <<: *a\n  b: 2', 'f')['d'] == {'b': 2, 'c': 1}


def test_nothing_is_none():
    assert parse_yaml('# only a comment', 'f') is None


def test_tells_the_line_of_each_key():
    lines = key_lines('node:\n  ros__parameters:\n    group.key: 1\n    other:\n      inner: 2\n')
    assert lines['node', 'ros__parameters', 'group', 'key'] == 3
    assert lines['node', 'ros__parameters', 'other', 'inner'] == 5
