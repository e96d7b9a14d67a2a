"""Published parameters of hyperelastic laws: JSON by measure, material and law."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.core.anatomy.material.curves import MEASURES
from twin_nodes.core.anatomy.material.published import PublishedFit
from twin_nodes.core.anatomy.material.uniaxial import LAWS
from twin_nodes.core.errors import InputError

FILE_NAME = 'hyperelastic_parameters.json'
MAX_FILE_BYTES = 64 << 20
_UNITS = {'pa': 1.0, 'kpa': 1e3, 'mpa': 1e6}
# numbers after the name count orders; of Mooney and Rivlin's, 1 has two moduli and 2 has three
_NAMES = {
    'neohookean': 'neo_hookean', 'mooneyrivlino1': 'mooney_rivlin_2', 'mooneyrivlino2': 'mooney_rivlin_3',
    'yeoho1': 'yeoh_1', 'yeoho2': 'yeoh_2', 'yeoho3': 'yeoh_3', 'ogdeno1': 'ogden_1', 'ogdeno2': 'ogden_2',
    'ogdeno3': 'ogden_3', 'verondawestmann': 'veronda_westmann', 'humphrey': 'humphrey',
}  # fmt: skip


def read_published(path: Path | str) -> list[PublishedFit]:
    """Read published fits: {measure: {material: {law: {parameters, SSE, AIC, stress_unit}}}}.

    Laws that are not ours are left out.

    Raises:
        InputError: naming the entry and what is wrong with it.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f'{path} is above {MAX_FILE_BYTES >> 20} MiB: no table of parameters')
        document = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f'{path}: cannot be read as JSON: {error}') from None
    fits = []
    for measure, material, law, entry in _entries(document):
        name = _NAMES.get(re.sub(r'[^a-z0-9]', '', law.lower()))
        if measure in MEASURES and name is not None:
            fits.append(_fit(f'{path}: {measure}/{material}/{law}', measure, material, name, entry))
    if not fits:
        raise InputError(f'{path}: no law of ours in it; expected {{measure: {{material: {{law: …}}}}}}')
    return fits


def _entries(document: Any) -> list[tuple[str, str, str, Any]]:
    found = []
    for measure, materials in document.items() if isinstance(document, dict) else ():
        for material, laws in materials.items() if isinstance(materials, dict) else ():
            for law, entry in laws.items() if isinstance(laws, dict) else ():
                found.append((measure, material, law, entry))
    return found


def _fit(where: str, measure: str, material: str, name: str, entry: Any) -> PublishedFit:
    try:
        unit = _UNITS[str(entry.get('stress_unit', 'kPa')).lower()]
        parameters = np.array(entry['parameters'], float)
        sse, aic = float(entry['SSE']), float(entry.get('AIC', 0.0))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f'{where}: expected parameters, SSE, AIC and stress_unit: {error!r}') from None
    law = LAWS[name]
    if parameters.shape != (len(law.names),):
        raise InputError(f'{where}: {parameters.size} parameters, expected {len(law.names)}: {", ".join(law.names)}')
    if not (np.isfinite(parameters).all() and math.isfinite(aic) and sse > 0.0 and math.isfinite(sse)):
        raise InputError(f'{where}: a number is not finite, or SSE is not above 0')
    parameters[: len(law.moduli)] *= unit
    return PublishedFit(material, measure, name, parameters, sse * unit**2, aic, unit)
