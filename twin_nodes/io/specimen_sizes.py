"""Sizes of a specimen from what stands above a table, in several languages."""

import re
import unicodedata
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError

AGREE = 0.01  # what is stated twice, or stated and computed
LENGTHS = {'m': 1.0, 'cm': 1e-2, 'mm': 1e-3, 'um': 1e-6, 'in': 0.0254}
_SIZES = {
    'diameter': 'diameter', 'durchmesser': 'diameter', 'diametre': 'diameter', 'diametro': 'diameter',
    'radius': 'radius', 'rayon': 'radius', 'radio': 'radius', 'raggio': 'radius', 'height': 'height', 'hohe': 'height',
    'hoehe': 'height', 'hauteur': 'height', 'altura': 'height', 'altezza': 'height', 'thickness': 'thickness',
    'dicke': 'thickness', 'epaisseur': 'thickness', 'espesor': 'thickness', 'spessore': 'thickness', 'length': 'length',
    'lange': 'length', 'laenge': 'length', 'longueur': 'length', 'width': 'width', 'breite': 'width',
    'largeur': 'width', 'depth': 'depth', 'tiefe': 'depth', 'area': 'area', 'flache': 'area', 'flaeche': 'area',
    'querschnitt': 'area',
}  # fmt: skip
_SIZE = re.compile(
    rf'({"|".join(_SIZES)})\s*(?:\(([^)]*)\)|\[([^\]]*)\])?\s*[:=,;\t ]\s*([-+0-9.,eE]+)\s*([a-z]+[2^]*)?',
    re.IGNORECASE,
)
_NOT_AT_REST = re.compile(r'platen|plate\b|indenter|final|after|end\b|fracture|grip|nach\b|fin\b', re.IGNORECASE)


def specimen_sizes(path: Path, lines: list[str]) -> tuple[float | None, float | None]:
    """Return area [m²] and height [m] at rest, where they are stated.

    Raises:
        InputError: MATERIAL_TEST_REFUSED where one is stated twice and differs.
    """
    sizes: dict[str, float] = {}
    for line in lines:
        plain = without_accents(line).replace('"', ' ').replace("'", ' ')
        for match in _SIZE.finditer(re.sub(r'\s*([:=,;\t])\s*', r'\1', plain)):
            what, unit = _SIZES[match[1].lower()], (match[5] or match[2] or match[3] or '').strip().lower()
            unit = unit.replace('^2', '').rstrip('2')
            unit = unit or _unit_after(plain, match[4])
            try:
                value = float(match[4].rstrip('.,').replace(',', '.'))
            except ValueError:
                continue
            if unit not in LENGTHS or value <= 0.0 or _NOT_AT_REST.search(plain):
                continue
            value *= LENGTHS[unit] ** (2 if what == 'area' else 1)
            if abs(sizes.setdefault(what, value) / value - 1.0) > AGREE:
                raise InputError(
                    f'{path}: {what} is stated as {sizes[what]:.4g} and as {value:.4g} (SI): which one is meant?',
                    code='MATERIAL_TEST_REFUSED',
                )
    area = sizes.get('area')
    if area is None and 'diameter' in sizes:
        area = np.pi / 4.0 * sizes['diameter'] ** 2
    if area is None and 'radius' in sizes:
        area = np.pi * sizes['radius'] ** 2
    for across in ('depth', 'thickness', 'length'):
        if area is None and 'width' in sizes and across in sizes and ('height' in sizes or across == 'depth'):
            area = sizes['width'] * sizes.pop(across)
    return area, next((sizes[key] for key in ('height', 'thickness', 'length') if key in sizes), None)


def _unit_after(line: str, number: str) -> str:
    """Return the unit in the cell after a number: 'Diameter';'30,0';'mm'."""
    match = re.match(r'[\s,;\t]*([a-z]{1,2})\b', line.partition(number)[2].lower())
    return match[1] if match else ''


def without_accents(text: str) -> str:
    """Return text without accents: Höhe as Hohe, Déplacement as Deplacement."""
    kept = unicodedata.normalize('NFKD', text.replace('µ', 'u').replace('²', '2'))
    return kept.encode('ascii', 'ignore').decode()
