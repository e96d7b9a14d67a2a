"""Rebuilds a bag that was cut, killed or damaged; `twin recover`."""

import sys
from pathlib import Path

from twin_nodes.core.errors import TwinError
from twin_nodes.io.bags.recover import RecoverReport
from twin_nodes.io.bags.recover import recover as rebuild


def recover(path: Path | str, *, output: Path | str | None = None, compression: str = 'zstd') -> int:
    """Write what is left of a bag into a new one and say what was lost.

    Args:
        path: The bag's folder, or its MCAP file.
        output: The new folder; the old name with `_recovered` when None.
        compression: Of the new bag: '' for none, 'zstd' or 'lz4'.

    Returns:
        0 when everything was recovered, 3 when something was lost, 1 when nothing could be.
    """
    source = Path(path)
    target = Path(output) if output is not None else source.parent / f'{source.resolve().stem}_recovered'
    try:
        report = rebuild(source, target, compression=compression)
    except (TwinError, OSError) as error:
        print(f'error: {error}', file=sys.stderr, flush=True)
        return 1
    for line in _lines(report, target):
        print(line, flush=True)
    return report.exit_status


def _lines(report: RecoverReport, target: Path) -> list[str]:
    if not report.messages:
        return [f'nothing could be recovered: {report.bytes_lost} bytes hold no whole message']
    span_s = (report.end_ns - report.start_ns) * 1e-9
    lines = [f'recovered {report.messages} messages over {span_s:.3f} s into {target}']
    lines += [f'  {topic}: {count}' for topic, count in sorted(report.counts.items())]
    if report.unguarded:
        lines.append(f'  {report.unguarded} of them lay in the last chunk, which was cut: no checksum guards them')
    loss = report.loss
    told = (
        (loss.bad_chunks, 'chunks with a wrong checksum'),
        (loss.missing_messages, 'messages that the file promises are in no whole chunk'),
        (loss.nameless_messages, 'messages whose topic or type is not in the file any more'),
        (loss.bytes, 'bytes in no whole record'),
    )
    lines += [f'  lost: {number} {what}' for number, what in told if number]
    if loss.open_end:
        lines.append('  the recording was not closed: what was in memory when it ended is not in the file')
    return lines
