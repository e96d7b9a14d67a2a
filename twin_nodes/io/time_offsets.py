"""Files of time offsets between two clocks: YAML beside those of `io.results`, with whole nanoseconds."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError
from twin_nodes.io.results import FORMAT, VERDICTS, software_version
from twin_nodes.io.whole_files import write_text_whole
from twin_nodes.io.yaml_files import read_mapping

KIND = 'time_offset'
_MAX_NS = 2**63
_INTEGERS = ('offset_ns', 'low_ns', 'high_ns')


@dataclass(frozen=True)
class StoredOffset:
    """The offset of two clocks.

    Args:
        first: The stream whose clock counts.
        second: The stream to whose stamps the offset is added.
        offset_ns: The offset.
        sigma_s: Its standard deviation.
        low_ns: Lower end of its 95 % confidence interval.
        high_ns: Upper end.
        verdict: accept, warn or refuse.
        date: When it was measured, ISO 8601 with its time zone.
        reasons: Why it is not accepted, one sentence each.
        data_sha256: Of both streams' data.
        software_version: Of twin_nodes.
    """

    first: str
    second: str
    offset_ns: int
    sigma_s: float
    low_ns: int
    high_ns: int
    verdict: str
    date: str
    reasons: tuple[str, ...] = ()
    data_sha256: tuple[str, ...] = ()
    software_version: str = field(default_factory=software_version)


def write_offset(path: Path | str, offset: StoredOffset) -> None:
    """Write an offset; the file appears whole or not at all.

    Raises:
        ConfigError: The offset would not be accepted by `read_offset`, or the folder cannot be written.
    """
    document = {'format': FORMAT, 'kind': KIND, **asdict(offset)}
    document |= {'verdict': str(offset.verdict), 'reasons': list(offset.reasons)}
    document['data_sha256'] = list(offset.data_sha256)
    _parse(document, str(path))
    text = '# add offset_ns to the stamps of `second` to bring them onto the clock of `first`\n'
    write_text_whole(Path(path), text + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=140))


def read_offset(path: Path | str) -> StoredOffset:
    """Read an offset and check every value of it.

    Raises:
        ConfigError: naming the file, the key, the value and what was expected.
    """
    return _parse(read_mapping(path, 'file of an offset'), str(path))


def _parse(document: dict[Any, Any], where: str) -> StoredOffset:
    values = dict(document)
    if (values.pop('format', None), values.pop('kind', None)) != (FORMAT, KIND):
        raise ConfigError(f'{where}: expected format {FORMAT} and kind {KIND}')
    known = StoredOffset.__dataclass_fields__
    for key in values:
        if key not in known:
            raise ConfigError(f'{where}: unknown key {key!r}{nearest(str(key), known)}')
    for key in ('first', 'second', *_INTEGERS, 'sigma_s', 'verdict', 'date'):
        if key not in values:
            raise ConfigError(f'{where}: key {key!r} is missing')
    for key in _INTEGERS:
        if type(values[key]) is not int or abs(values[key]) >= _MAX_NS:
            raise ConfigError(f'{where}: {key}={values[key]!r}: expected whole nanoseconds')
    sigma = values['sigma_s']
    if type(sigma) is not float or not 0.0 <= sigma < 1e9:
        raise ConfigError(f'{where}: sigma_s={sigma!r}: expected seconds, 0 or above')
    if not values['low_ns'] <= values['offset_ns'] <= values['high_ns']:
        raise ConfigError(f'{where}: offset_ns={values["offset_ns"]} lies outside low_ns … high_ns')
    if values['verdict'] not in VERDICTS:
        raise ConfigError(f'{where}: verdict={values["verdict"]!r} is none of {", ".join(VERDICTS)}')
    for key in ('reasons', 'data_sha256'):
        values[key] = tuple(str(entry) for entry in values.get(key) or ())
    return StoredOffset(**values)
