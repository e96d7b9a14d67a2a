"""The page of diagnostic codes, from core/codes."""

from pages import heading

from twin_nodes.core.codes import CODES


def codes_page() -> str:
    """Return the page as Markdown."""
    lines = [
        *heading('Diagnostic codes', 1),
        'They stand in `/diagnostics`, `guidance/events`, `registration/events`, in errors and in reports, and keep '
        'their meaning. `twin explain CODE` says the same at a terminal.',
        '',
    ]
    for code, entry in sorted(CODES.items()):
        lines += [*heading(code, 2), f'**{_plain(entry.title)}.** {_plain(entry.meaning)}', '']
        lines += [f'*What to do:* {_plain(entry.mend)}', '']
    return '\n'.join(lines)


def _plain(text: str) -> str:
    """Keep what stands in pointed brackets or stars from being read as markup."""
    parts = text.split('`')
    parts[::2] = [part.replace('<', '&lt;').replace('*', '\\*').replace('_', '\\_') for part in parts[::2]]
    return '`'.join(parts)
