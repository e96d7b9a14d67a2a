"""Finding the configuration that belongs to a recording, and the published result near it."""

import math
from collections.abc import Iterator
from pathlib import Path

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings.plus_config import PlusConfig, PlusTransform, read_plus_config

MAX_FILES = 500


def find_plus_config(recording_path: Path | str) -> Path | None:
    """Return the PLUS configuration whose SequenceFile names the recording, or None.

    Looked for beside the recording, in the folders beside its folder (such as ../ConfigFiles), and one above. A
    results file is never taken: it may carry another calibration of the same stylus. Of several, one that has both the
    tip of the stylus and landmarks comes first.
    """
    recording_path = Path(recording_path)
    found = []
    for path in _xml_files(recording_path):
        config = None if _is_results(path) else _read(path)
        if config is not None and recording_path.name in config.sequence_files:
            found.append(config)
    found.sort(key=lambda c: (c.find(c.tip_frame, c.stylus_frame) is None, len(c.landmark_names) == 0))
    return found[0].path if found else None


def find_truth(recording_path: Path | str, config: PlusConfig | None = None) -> PlusTransform | None:
    """Return the published reference_T_phantom of a *.results.xml near the recording, or None.

    Of several files, one with the landmarks of the configuration comes first, then the one whose stylus has its tip
    nearest to that of the configuration: a folder may hold the results of other phantoms and styluses.
    """
    phantom, reference = (config.phantom_frame, config.reference_frame) if config else ('Phantom', 'Reference')
    found: list[tuple[bool, float, PlusTransform]] = []
    for path in _xml_files(Path(recording_path)):
        results = _read(path) if _is_results(path) else None
        transform = results.find(phantom, reference) if results else None
        if results is not None and transform is not None:
            same = config is not None and results.landmark_names == config.landmark_names
            found.append((not same, _tips_apart(config, results), transform))
    found.sort(key=lambda item: item[:2])
    return found[0][2] if found else None


def _tips_apart(config: PlusConfig | None, results: PlusConfig) -> float:
    """Return how far the tips of two styluses lie apart in their markers [m]; inf where one is not written."""
    if config is None:
        return 0.0
    own = config.find(config.tip_frame, config.stylus_frame)
    other = results.find(config.tip_frame, config.stylus_frame)
    return math.inf if own is None or other is None else math.dist(own.to_T_from[:3, 3], other.to_T_from[:3, 3])


def _is_results(path: Path) -> bool:
    return path.name.lower().endswith('results.xml')


def _read(path: Path) -> PlusConfig | None:
    try:
        return read_plus_config(path)
    except InputError:
        return None


def _xml_files(recording_path: Path) -> Iterator[Path]:
    folder = recording_path.resolve().parent
    folders = [folder]
    try:
        folders += sorted(child for child in folder.parent.iterdir() if child.is_dir() and child != folder)[:MAX_FILES]
        folders.append(folder.parent)
    except OSError:
        pass
    count = 0
    for place in folders:
        try:
            files = sorted(place.glob('*.xml'))
        except OSError:
            continue
        for path in files:
            count += 1
            if count > MAX_FILES:
                return
            yield path
