"""`twin explain CODE`: what a diagnostic code means and what to do."""

from twin_nodes.core.codes import CODES
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import InputError


def explain(code: str | None) -> int:
    """Print the entry of a code, or list all codes.

    Raises:
        InputError: for an unknown code, naming the nearest.
    """
    if code is None:
        width = max(len(name) for name in CODES)
        for name, entry in CODES.items():
            print(f'{name:<{width}}  {entry.title}')
        return 0
    wanted = code.strip().upper().replace('-', '_')
    if wanted not in CODES:
        raise InputError(f'no code {code!r}{nearest(wanted, CODES)}; `twin explain` lists all')
    entry = CODES[wanted]
    print(f'{wanted}: {entry.title}\n\n{entry.meaning}\n\nWhat to do: {entry.mend}')
    return 0
