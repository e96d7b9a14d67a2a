"""Files of learned stiffness: factors on the case, whatever the estimate started from."""

import numpy as np
import pytest

from twin_nodes.core.anatomy.case_config import MaterialConfig
from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.material.stiffness import StiffnessEstimate
from twin_nodes.core.anatomy.session_config import TissueConfig
from twin_nodes.core.errors import InputError
from twin_nodes.io.stiffness_results import read_stiffness, stiffness_text, with_stiffness

NAMES = {'1': 'liver', '2': 'lesion'}
MATERIALS = {1: MaterialConfig('liver', young=3000.0, poisson=0.45)}
LABELS = {'liver': 1, 'lesion': 2}


def estimate(*factors):
    found = np.array(factors)
    return StiffnessEstimate(
        ('1', '2', 'boundary'), found, 0.8 * found, 1.25 * found, 0.01 * np.eye(3), True, (), 'converged', 3, 1.0, {},
        None,
    )  # fmt: skip


def write(tmp_path, found, learned, laws=None, base=None):
    laws = laws or {1: NeoHookean(3000.0, 0.45), 2: NeoHookean(9000.0, 0.45)}
    path = tmp_path / 'stiffness.yaml'
    path.write_text(stiffness_text('case', 'anatomy_node', laws, found, NAMES, frozenset(learned), base=base))
    return path


def test_what_was_learned_counts_and_the_rest_stays(tmp_path):
    path = write(tmp_path, estimate(1.5, 3.0, 0.5), ('1', 'boundary'))
    assert read_stiffness(path).factors == {'liver': 1.5, 'boundary': 0.5}
    materials, tissue, base = with_stiffness(path, 'case', LABELS, MATERIALS, TissueConfig(support=20.0))
    assert materials[1].young == pytest.approx(4500.0) and 2 not in materials
    assert tissue.support == pytest.approx(10.0) and base == {'liver': 1.5, 'boundary': 0.5}


def test_a_structure_without_a_material_is_scaled_from_the_settings(tmp_path):
    path = write(tmp_path, estimate(1.0, 2.0, 1.0), ('2',))
    materials, _, _ = with_stiffness(path, 'case', LABELS, MATERIALS, TissueConfig(young=4000.0))
    assert materials[2].young == pytest.approx(8000.0) and materials[1].young == 3000.0


def test_learned_again_from_what_was_learned_the_factors_are_those_on_the_case(tmp_path):
    started = {1: NeoHookean(4500.0, 0.45), 2: NeoHookean(9000.0, 0.45)}
    path = write(tmp_path, estimate(1.1, 1.0, 7.0), ('1',), started, {'liver': 1.5, 'boundary': 0.5})
    stored = read_stiffness(path)
    assert stored.factors == pytest.approx({'liver': 1.65, 'boundary': 0.5})  # the boundary was not learned anew: held
    materials, tissue, _ = with_stiffness(path, 'case', LABELS, MATERIALS, TissueConfig(support=20.0))
    assert materials[1].young == pytest.approx(4950.0) and tissue.support == pytest.approx(10.0)
    assert 'young_pa: 4950' in path.read_text()


def test_what_is_no_such_file_is_refused(tmp_path):
    path = tmp_path / 'x.yaml'
    for text in ('', '[]', 'kind: stiffness', '{', 'a' * (2 << 20)):
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            read_stiffness(path)
        assert caught.value.code == 'STIFFNESS_REFUSED'
