"""Files of learned stiffness: `twin calibrate stiffness` and anatomy_node write them, anatomy_node starts from them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from twin_nodes.core.anatomy.case_config import MaterialConfig
from twin_nodes.core.anatomy.elastic.laws import Material, NeoHookean
from twin_nodes.core.anatomy.material.stiffness import StiffnessEstimate
from twin_nodes.core.anatomy.material.stiffness_states import BOUNDARY
from twin_nodes.core.anatomy.session_config import TissueConfig
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.results import software_version, utc_date
from twin_nodes.io.yaml_files import read_mapping

FORMAT = 1
KIND = 'stiffness'
FILE = 'stiffness.yaml'
_LEAST, _MOST = 1e-4, 1e4  # of a factor


@dataclass(frozen=True)
class StoredStiffness:
    """What a file tells.

    Args:
        case: Name of the case that it was learned of.
        is_absolute: Whether a force was seen; else only ratios are known.
        factors: Of each structure, and of the boundary, that was learned.
    """

    case: str
    is_absolute: bool
    factors: Mapping[str, float]


def stiffness_text(
    case: str,
    source: str,
    laws: Mapping[int, Material],
    estimate: StiffnessEstimate,
    names: Mapping[str, str],
    learned: frozenset[str],
    *,
    base: Mapping[str, float] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of a result file.

    Args:
        case: Name of the case.
        source: Where it came from: a recipe, or anatomy_node.
        laws: Laws as assumed, by label.
        estimate: What was found.
        names: Of the structures, by label as text.
        learned: Names of the unknowns (labels as text, 'boundary') that were learned.
        base: Factors by name that the laws already have over those of the case: the file tells factors on the case.
        extra: Further keys.
    """
    rows = []
    for index, key in enumerate(estimate.names):
        name = names.get(key, key)
        before = (base or {}).get(name, 1.0)
        is_held = key not in learned and before != 1.0  # what was learned before stands
        factor = 1.0 if is_held else float(estimate.factor[index])
        row: dict[str, Any] = {
            'name': name,
            'factor': before * factor,
            'factor_low': before * float(estimate.low[index]),
            'factor_high': before * float(estimate.high[index]),
            'learned': key in learned or is_held,
        }
        law = laws.get(int(key)) if key != BOUNDARY else None
        if isinstance(law, NeoHookean):
            row |= {'young_pa': law.young * factor, 'poisson': law.poisson}
        rows.append(row)
    document = {
        'format': FORMAT, 'kind': KIND, 'date': utc_date(), 'software_version': software_version(), 'case': case,
        'recipe': source, 'status': estimate.status, 'absolute': estimate.is_absolute,
        'residual_ratio': estimate.residual, 'stiffness': rows, 'log_covariance': estimate.log_covariance.tolist(),
        **(extra or {}),
    }  # fmt: skip
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def read_stiffness(path: Path) -> StoredStiffness:
    """Read a result file.

    Raises:
        InputError: STIFFNESS_REFUSED for what is no such file, of another format, or holds factors that are none.
    """
    try:
        document = read_mapping(path, 'result of `twin calibrate stiffness` or anatomy_node')
        kind = (document['kind'], document['format'])
        factors = {str(row['name']): float(row['factor']) for row in document['stiffness'] if row['learned']}
        found = StoredStiffness(str(document['case']), bool(document['absolute']), factors)
    except ConfigError as error:
        raise InputError(str(error), code='STIFFNESS_REFUSED') from None
    except (ValueError, KeyError, TypeError) as error:
        raise _refusal(path, f'no result of `twin calibrate stiffness` or anatomy_node ({error})') from None
    if kind != (KIND, FORMAT):
        raise _refusal(path, f'{kind[0]!r} of format {kind[1]!r}, expected {KIND!r} of format {FORMAT}')
    for name, factor in factors.items():
        if not _LEAST <= factor <= _MOST:
            raise _refusal(path, f'{name}: factor {factor:g}, expected {_LEAST:g} … {_MOST:g}')
    return found


def with_stiffness(
    path: Path,
    case: str,
    labels: Mapping[str, int],
    materials: Mapping[int, MaterialConfig],
    tissue: TissueConfig,
) -> tuple[dict[int, MaterialConfig], TissueConfig, Mapping[str, float]]:
    """Return materials and surroundings with what a file has learned, and its factors by name.

    Args:
        path: The file.
        case: Name of the case that it is used for.
        labels: Label of each structure.
        materials: Of the case, by label.
        tissue: Settings: what the case gives no material, and the surroundings.

    Raises:
        InputError: STIFFNESS_REFUSED for a file that is none, or of another case or structure.
    """
    stored = read_stiffness(path)
    if stored.case != case:
        raise _refusal(path, f'learned of the case {stored.case!r}, this one is {case!r}')
    found = dict(materials)
    for name, factor in stored.factors.items():
        if name == BOUNDARY:
            tissue = replace(tissue, support=tissue.support * factor)
            continue
        if name not in labels:
            raise _refusal(path, f'no structure {name!r} in the case, there are: {", ".join(labels)}')
        known = found.get(labels[name], MaterialConfig(name, young=tissue.young, poisson=tissue.poisson))
        found[labels[name]] = replace(known, young=known.young * factor)
    return found, tissue, stored.factors


def _refusal(path: Path, reason: str) -> InputError:
    return InputError(f'{path}: {reason}', code='STIFFNESS_REFUSED')
