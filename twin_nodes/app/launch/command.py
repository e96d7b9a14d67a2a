"""The `twin launch` command."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from twin_nodes.app.launch import packages
from twin_nodes.app.launch.arguments import declared_arguments
from twin_nodes.app.launch.evaluate import plan_launch
from twin_nodes.app.launch.session import LaunchSession
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError

_COLOURS = (36, 32, 33, 35, 34, 31, 96, 92, 93, 95, 94, 91)


def launch(
    words: Sequence[str], *, show_args: bool = False, dry_run: bool = False, seconds: float | None = None
) -> int:
    """Run a launch file until Ctrl-C, until its processes have ended, or for some seconds.

    Args:
        words: `FILE name:=value …`, `PACKAGE FILE name:=value …`, or nothing to list our own files.
        show_args: Only list the file's arguments.
        dry_run: Only print the commands.
        seconds: Stop after this time [s].

    Returns:
        0, or 1 when a process ended by an error.

    Raises:
        ConfigError: for anything wrong with the words or the file.
    """
    names, arguments = _split(words)
    if not names:
        return _list_own()
    file = find_launch_file(names)
    if show_args:
        for argument in declared_arguments(file, os.environ):
            print(argument)
        return 0
    if dry_run:
        plan = plan_launch(file, arguments, os.environ)
        for process in plan.processes:
            print(f'[{process.label}] {process}')
        return 0
    return _supervise(file, arguments, seconds)


def _split(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    names, arguments = [], {}
    for word in words:
        name, sign, value = word.partition(':=')
        if sign:
            arguments[name] = value
        elif arguments or len(names) == 2:
            raise ConfigError(f'{word!r} is neither a file nor an argument; write arguments as name:=value')
        else:
            names.append(word)
    return names, arguments


def own_files() -> list[Path]:
    """List the launch files that twin_nodes brings."""
    return sorted((packages.find_share(packages.OURS, os.environ) / 'launch').glob('*.launch.xml'))


def _list_own() -> int:
    files = own_files()
    print('launch files of twin_nodes:' if files else 'twin_nodes brings no launch files here; give a path')
    for file in files:
        print(f'  twin launch {file.name}')
    return 0


def find_launch_file(names: Sequence[str]) -> Path:
    """Find a launch file by path, by the name of one of ours, or by package and name, as `ros2 launch` takes it.

    Raises:
        ConfigError: when there is none, with the nearest.
    """
    package, name = (packages.OURS, names[0]) if len(names) == 1 else (names[0], names[1])
    if len(names) == 1 and Path(name).is_file():
        return Path(name)
    share = packages.find_share(package, os.environ)
    files = {path.name: path for path in sorted((share / 'launch').glob('*.xml'))}
    for candidate in (name, f'{name}.launch.xml', f'{name}.xml'):
        if candidate in files:
            return files[candidate]
    listing = f' (there are: {", ".join(files)})' if files else ''
    raise ConfigError(f'no launch file {name!r} here or in package {package!r}{nearest(name, files)}{listing}')


class _Printer:
    """Prints lines with their label, coloured at a terminal; usable from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._colour = sys.stdout.isatty() and 'NO_COLOR' not in os.environ
        self._codes: dict[str, int] = {}

    def __call__(self, label: str, line: str) -> None:
        with self._lock:
            code = self._codes.setdefault(label, _COLOURS[len(self._codes) % len(_COLOURS)])
            head = f'\x1b[{code}m[{label}]\x1b[0m' if self._colour else f'[{label}]'
            with contextlib.suppress(BrokenPipeError, UnicodeEncodeError):
                print(f'{head} {line}', flush=True)


def _supervise(file: Path, arguments: dict[str, str], seconds: float | None) -> int:
    say = _Printer()
    session = LaunchSession(file, arguments, on_line=say)
    before = {
        which: signal.signal(which, lambda *_: session.request_stop())
        for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        for message in session.plan.messages:
            say('twin launch', message)
        session.start()
        for process in session.processes:
            say('twin launch', f'{process.plan.label} started, pid {process.pid}')
        if not session.wait(seconds):
            session.request_stop()
        session.stop()
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
    if session.culprits:
        print(f'twin launch: {session.report()}', file=sys.stderr)
    return session.exit_code
