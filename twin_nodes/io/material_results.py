"""Files of fitted materials: YAML beside those of `io.results`, in pascals."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from twin_nodes.core.anatomy.material.curves import MEASURES
from twin_nodes.core.anatomy.material.uniaxial import find_law
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError
from twin_nodes.io.results import FORMAT, VERDICTS, software_version
from twin_nodes.io.whole_files import write_text_whole
from twin_nodes.io.yaml_files import read_mapping

KIND = 'material'
_NUMBERS = ('shear_pa', 'shear_low_pa', 'shear_high_pa', 'standard_error_pa', 'greatest_compression_ratio')


@dataclass(frozen=True)
class StoredMaterial:
    """A law fitted to compression tests.

    Args:
        material: What was tested.
        law: Name in `core.anatomy.material.uniaxial.LAWS`.
        parameters: By name: moduli [Pa], exponents without unit.
        low: Lower ends of their 95 % intervals.
        high: Upper ends.
        interval_source: What the intervals rest on: specimens, repeats or residuals.
        shear_pa: Shear modulus at rest [Pa].
        shear_low_pa: Lower end of its interval.
        shear_high_pa: Upper end.
        measure: 'engineering' or 'true'.
        greatest_compression_ratio: Up to where the tests go, as a share of the height: beyond it nothing is known.
        standard_error_pa: Of the stress about the law [Pa].
        stability: Drucker's, in words; 'stable' when it is.
        verdict: accept, warn or refuse.
        date: ISO 8601 with its time zone.
        reasons: Why it is not accepted, one sentence each.
        data_file: Names of the files.
        data_sha256: Of each.
        software_version: Of twin_nodes.
    """

    material: str
    law: str
    parameters: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    interval_source: str
    shear_pa: float
    shear_low_pa: float
    shear_high_pa: float
    measure: str
    greatest_compression_ratio: float
    standard_error_pa: float
    stability: str
    verdict: str
    date: str
    reasons: tuple[str, ...] = ()
    data_file: tuple[str, ...] = ()
    data_sha256: tuple[str, ...] = ()
    software_version: str = field(default_factory=software_version)

    def vector(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the parameters in the order of their law."""
        return np.array([self.parameters[name] for name in find_law(self.law).names])


def write_material(path: Path | str, stored: StoredMaterial) -> None:
    """Write a material; the file appears whole or not at all.

    Raises:
        ConfigError: It would not be accepted by `read_material`, or the folder cannot be written.
    """
    document = {'format': FORMAT, 'kind': KIND, **asdict(stored)}
    for key in ('reasons', 'data_file', 'data_sha256'):
        document[key] = list(document[key])
    _parse(document, str(path))
    text = '# moduli in Pa, exponents without unit; equations of the laws: docs/materials.md\n'
    write_text_whole(Path(path), text + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=140))


def read_material(path: Path | str, *, usable: bool = False) -> StoredMaterial:
    """Read a material and check every value of it.

    Args:
        path: The file.
        usable: Whether the verdict refuse is an error.

    Raises:
        ConfigError: naming the file, the key, the value and what was expected.
    """
    stored = _parse(read_mapping(path, 'file of a material'), str(path))
    if usable and stored.verdict == 'refuse':
        raise ConfigError(f'{path}: its verdict is refuse ({"; ".join(stored.reasons) or "no reason given"}): redo it')
    return stored


def _parse(document: dict[Any, Any], where: str) -> StoredMaterial:
    values = dict(document)
    if (values.pop('format', None), values.pop('kind', None)) != (FORMAT, KIND):
        raise ConfigError(f'{where}: expected format {FORMAT} and kind {KIND}')
    known = StoredMaterial.__dataclass_fields__
    for key in values:
        if key not in known:
            raise ConfigError(f'{where}: unknown key {key!r}{nearest(str(key), known)}')
    optional = ('reasons', 'data_file', 'data_sha256', 'software_version')
    for key in known:
        if key not in values and key not in optional:
            raise ConfigError(f'{where}: key {key!r} is missing')
    for key in ('material', 'law', 'interval_source', 'stability', 'date', 'verdict', 'measure'):
        if not isinstance(values[key], str) or not values[key]:
            raise ConfigError(f'{where}: {key}={values[key]!r}: expected text')
    if values['verdict'] not in VERDICTS:
        raise ConfigError(f'{where}: verdict={values["verdict"]!r} is none of {", ".join(VERDICTS)}')
    if values['measure'] not in MEASURES:
        raise ConfigError(f'{where}: measure={values["measure"]!r} is none of {", ".join(MEASURES)}')
    for key in _NUMBERS:
        values[key] = _number(values[key], f'{where}: {key}')
    names = find_law(values['law']).names
    for key in ('parameters', 'low', 'high'):
        entry = values[key]
        if not isinstance(entry, dict) or tuple(entry) != names:
            raise ConfigError(f'{where}: {key}: expected {", ".join(names)} in this order')
        values[key] = {name: _number(value, f'{where}: {key}.{name}') for name, value in entry.items()}
    for name in names:
        if not values['low'][name] <= values['parameters'][name] <= values['high'][name]:
            raise ConfigError(f'{where}: parameters.{name} lies outside low … high')
    for key in ('reasons', 'data_file', 'data_sha256'):
        entry = values.get(key) or []
        if not isinstance(entry, list) or not all(isinstance(item, str) for item in entry):
            raise ConfigError(f'{where}: {key}={entry!r}: expected a list of texts')
        values[key] = tuple(entry)
    return StoredMaterial(**values)


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f'{what}={value!r}: expected a finite number')
    return float(value)
