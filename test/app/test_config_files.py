"""The YAML files in config/ list every setting with its unit, and are what the code would write."""

from pathlib import Path

import pytest
import yaml

from twin_nodes.app.config_files import load, render
from twin_nodes.app.scenes import ROOM, files_of
from twin_nodes.core.config import build_config, settings_of
from twin_nodes.core.errors import ConfigError
from twin_nodes.ros.registry import CONFIGS, config_type

CONFIG = Path(__file__).resolve().parents[2] / 'config'
NODES = sorted(name.removesuffix('_node') for name in CONFIGS)


@pytest.fixture(scope='module')
def rendered():
    return files_of(ROOM)


@pytest.mark.parametrize('node', NODES)
def test_file_is_what_the_code_would_write(node, rendered):
    assert (CONFIG / f'{node}.yaml').read_text() == rendered[f'{node}.yaml'], (
        'write it again: python -m twin_nodes.app.scenes'
    )


@pytest.mark.parametrize('node', NODES)
def test_file_builds_its_config_and_lists_every_setting(node):
    section, values = load(CONFIG / f'{node}.yaml')
    assert section == node
    build_config(config_type(f'{node}_node'), values, source=f'{node}.yaml')

    def keys(mapping, prefix=''):
        for key, value in mapping.items():
            if isinstance(value, dict):
                yield from keys(value, f'{prefix}{key}.')
            else:
                yield f'{prefix}{key}'

    assert list(keys(values)) == [item.key for item in settings_of(config_type(f'{node}_node'))]


@pytest.mark.parametrize('node', NODES)
def test_every_setting_has_a_meaning_and_every_length_a_unit(node):
    for item in settings_of(config_type(f'{node}_node')):
        assert item.info.meaning, f'{node}: {item.key}'
        if any(word in item.key for word in ('distance', 'radius', 'length', 'spacing')):
            assert item.info.unit == 'm', f'{node}: {item.key}'


def test_no_other_yaml_lies_in_the_folder():
    assert {path.stem for path in CONFIG.glob('*.yaml')} == set(NODES)


def test_rendered_text_reads_back_exactly():
    values = {**ROOM['guidance'], 'advisor.stale_after': 1.0 / 3.0, 'near_distances': [0.002, 1e-7]}
    text = render('guidance', config_type('guidance_node'), values)
    body = yaml.safe_load(text)['/**/guidance']['ros__parameters']
    again = build_config(config_type('guidance_node'), body)
    assert again.advisor.stale_after == 1.0 / 3.0 and again.near_distances == (0.002, 1e-7)


def test_render_refuses_what_the_node_would_refuse():
    with pytest.raises(ConfigError, match='did you mean'):
        render('guidance', config_type('guidance_node'), {'tool': 'drill', 'guards': []})
