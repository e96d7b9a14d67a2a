"""`twin report BAG|CASE|BENCH`: finds out what it was given, and writes the page."""

import json
import math
from pathlib import Path

from twin_nodes.app.report.content import Fact, Report, Section, Table
from twin_nodes.app.report.files import figures_table
from twin_nodes.app.report.page import as_html
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.bags.reader import is_bag

_TETS = (
    ('tets', 'tetrahedra', '', 1.0),
    ('nodes', 'nodes', '', 1.0),
    ('min_dihedral_rad', 'least dihedral angle', '°', math.degrees(1.0)),
    ('volume_error', 'error of their volume', '%', 100.0),
    ('surface_rms', 'RMS to the surface', 'mm', 1e3),
)


def write_report(source: Path, *, output: Path | None = None, pdf: bool = False, as_json: bool = False) -> int:
    """Write the report of a bag, a case folder, or the figures of a bench.

    Args:
        source: A bag, the folder of a demo, a case folder, or a file of figures (`twin bench --json > FILE`).
        output: The page; `report.html` beside the source when not given.
        pdf: Whether a PDF is written beside the page.
        as_json: Print the facts, one JSON object per line.

    Raises:
        InputError: when the source is none of these.
        ConfigError: when a library is missing.
    """
    report = make_report(source)
    folder = source if source.is_dir() else source.parent
    path = output or folder / 'report.html'
    path.write_text(as_html(report), encoding='utf-8')
    if pdf:
        _write_pdf(path)
    if as_json:
        for fact in report.facts:
            value = float(fact.text) if isinstance(fact.value, float) else fact.value
            print(json.dumps({'figure': fact.name, 'value': value, 'unit': fact.unit}, ensure_ascii=False))
    else:
        print(f'{path}: {path.stat().st_size / 1e6:.2f} MB; open it in a browser')
    return 0


def make_report(source: Path) -> Report:
    """Make the report of whatever this is.

    Raises:
        InputError: when it is nothing that is known.
    """
    if not source.exists():
        raise InputError(f'{source}: there is no such file or folder')
    if source.is_dir() and (source / 'manifest.json').is_file():
        return _report_of_case(source)
    bag = source / 'bag' if source.is_dir() and (source / 'bag').is_dir() else source
    if bag.is_dir() or is_bag(bag):
        from twin_nodes.app.report.bag import report_of_bag

        return report_of_bag(bag)
    table = figures_table(source)
    if table is None:
        raise InputError(
            f'{source}: neither a bag, nor a case folder, nor figures (one JSON object per line, as '
            '`twin bench --json` prints them)'
        )
    kept = sum(row[-1] == 'yes' for row in table.rows)
    facts = (
        Fact('figures', 'figures', float(len(table.rows)), '', ''),
        Fact('promises_kept', 'kept', float(kept), '', 'figures whose promise holds, or that have none'),
    )
    return Report(
        f'Figures of {source.name}', 'as `twin bench` measured them', (Section('Figures', '', facts, (table,)),)
    )


def _report_of_case(folder: Path) -> Report:
    from twin_nodes.io.case import read_case

    manifest = read_case(folder).manifest
    facts = []
    for item in manifest['structures']:
        name = item['name']
        facts += [
            Fact(f'{name}_triangles', f'{name}: triangles', float(item['triangles']), '', 'surface as written'),
            Fact(
                f'{name}_volume_cm3', f'{name}: volume', 1e6 * float(item['surface_volume_m3']), 'cm³', 'of the surface'
            ),
        ]
    tets = manifest['tets']
    for key, label, unit, scale in _TETS:
        if key in tets:
            facts.append(Fact(f'tets_{key}', label, scale * float(tets[key]), unit, str(tets.get('made_by', ''))))
    rows = tuple((name, str(entry['bytes']), entry['sha256']) for name, entry in sorted(manifest['files'].items()))
    inputs = tuple((item['role'], str(item['files']), ' '.join(item['sha256'])) for item in manifest['inputs'])
    sections = (
        Section('Model', f'Axes {manifest["units"]["axes"]}, lengths in {manifest["units"]["length"]}.', tuple(facts)),
        Section('Made from', '', (), (Table(('role', 'files', 'SHA-256'), inputs),)),
        Section('Files', 'All hashes were compared.', (), (Table(('file', 'bytes', 'SHA-256'), rows),)),
    )
    return Report(
        f'Case {folder.name}', f'frame of reference {manifest["frame_of_reference_uid"] or "not stated"}', sections
    )


def _write_pdf(page: Path) -> None:
    try:
        from weasyprint import HTML
    except ImportError:
        raise ConfigError(
            f'{page.name} is written; a PDF needs weasyprint (pip install weasyprint), or print the page from a browser'
        ) from None
    HTML(str(page)).write_pdf(str(page.with_suffix('.pdf')))
