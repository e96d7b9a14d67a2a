"""Real recordings for the benches: they are no part of the repository and are used where they lie."""

import os
from pathlib import Path

VARIABLE = 'TWIN_NODES_RECORDINGS'


def recordings(name: str) -> Path | None:
    """Return the folder of a set of recordings, or None where there is none.

    Args:
        name: Name of the set, a folder below `$TWIN_NODES_RECORDINGS`, or below `../shared/data` without that variable.
    """
    folder = Path(os.environ.get(VARIABLE, '../shared/data')) / name
    return folder if folder.is_dir() else None
