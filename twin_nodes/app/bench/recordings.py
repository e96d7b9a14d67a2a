"""Real recordings for the benches: they are no part of the repository and are used where they lie."""

import os
import sys
from pathlib import Path

VARIABLE = 'TWIN_NODES_RECORDINGS'
_BESIDE_CHECKOUT = Path(__file__).resolve().parents[4] / 'shared' / 'data'


def recordings(name: str) -> Path | None:
    """Return the folder of a set of recordings, or None where there is none, which is told on stderr.

    Args:
        name: Name of the set, a folder below `$TWIN_NODES_RECORDINGS`, or below `shared/data` beside the checkout
            without that variable.
    """
    folder = Path(os.environ.get(VARIABLE, _BESIDE_CHECKOUT)) / name
    if folder.is_dir():
        return folder
    print(f'no recordings {folder}: measured without them ({VARIABLE} names their folder)', file=sys.stderr)
    return None
