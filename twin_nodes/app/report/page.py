"""A report as one HTML file that asks nobody for anything."""

from twin_nodes.app.report.content import Report
from twin_nodes.app.report.plots import as_svg
from twin_nodes.core.errors import ConfigError

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ report.title }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; border-bottom: 1px solid #bbb; margin-top: 2rem; }
p.sub { color: #555; margin-top: .2rem; } p.warn { border: 2px solid #990000; padding: .5rem .8rem; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-size: .88rem; }
th, td { text-align: left; padding: .22rem .5rem; border-bottom: 1px solid #ddd; vertical-align: top; }
th.number, td.number { text-align: right; } td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
td.how, caption { color: #555; } caption { text-align: left; } code { font-size: .85em; word-break: break-all; }
svg { width: 100%; height: auto; } nav a { margin-right: 1rem; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } nav { display: none; }
  section { break-inside: auto; } svg, tr { break-inside: avoid; } }
</style></head><body>
<h1>{{ report.title }}</h1><p class="sub">{{ report.subtitle }}</p>
<p class="warn">For research on phantoms, recordings and simulators. Not cleared for use on patients.</p>
<nav>{% for section in sections %}<a href="#s{{ loop.index }}">{{ section.title }}</a> {% endfor %}</nav>
{% for section in sections %}<section id="s{{ loop.index }}"><h2>{{ section.title }}</h2>
{% if section.text %}<p>{{ section.text }}</p>{% endif %}
{% if section.facts %}<table><tr><th>what</th><th class="number">value</th><th>unit</th><th>how it was got</th></tr>
{% for fact in section.facts %}<tr><td>{{ fact.label }}</td>
<td class="number" data-fact="{{ fact.name }}">{{ fact.text }}</td>
<td>{{ fact.unit }}</td><td class="how">{{ fact.how }}</td></tr>{% endfor %}</table>{% endif %}
{% for table in section.tables %}<table>{% if table.caption %}<caption>{{ table.caption }}</caption>{% endif %}
<tr>{% for heading in table.headings %}
<th{% if table.figures and table.figures[loop.index0] %} class="number"{% endif %}>{{ heading }}</th>{% endfor %}</tr>
{% for row in table.rows %}{% set r = loop.index0 %}<tr>{% for cell in row %}
{% set name = table.figure_of(r, loop.index0) %}
{% if name %}<td class="number" data-fact="{{ name }}">{{ cell }}</td>
{% elif cell|string|length >= 40 and ' ' not in cell|string %}<td><code>{{ cell }}</code></td>
{% else %}<td>{{ cell }}</td>{% endif %}
{% endfor %}</tr>{% endfor %}</table>{% endfor %}
{% for drawing in drawings[loop.index0] %}<figure>{{ drawing | safe }}</figure>{% endfor %}
</section>{% endfor %}
</body></html>
"""


def as_html(report: Report) -> str:
    """Render a report.

    Raises:
        ConfigError: when Jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment
    except ImportError:
        raise ConfigError('a report needs Jinja2: pip install jinja2 matplotlib') from None
    sections = [section for section in report.sections if section]
    drawings = [[as_svg(plot) for plot in section.plots] for section in sections]
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_TEMPLATE)
    return template.render(report=report, sections=sections, drawings=drawings)
