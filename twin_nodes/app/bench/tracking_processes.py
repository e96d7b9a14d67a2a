"""The processes of bench `tracking`: started, asked with a deadline, and always ended."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import psutil

from twin_nodes.app.launch.environment import GUARD, child_environment
from twin_nodes.core.errors import TwinError

END_S = 5.0


class BenchProcess:
    """One process of the bench; a context manager that ends it.

    Args:
        command: Program and arguments.
        environment: Its environment.
        log: File that its stderr goes to, and its stdout too when it is not asked anything.
        asked: Whether it answers JSON lines.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path, *, asked: bool = False) -> None:
        self._log = log.open('ab')
        self._path = log
        pipe = subprocess.PIPE if asked else None
        self.started_ns = time.monotonic_ns()
        self._process = subprocess.Popen(
            list(command),
            env=environment,
            stdin=pipe or subprocess.DEVNULL,
            stdout=pipe or self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        if asked and self._process.stdout is not None:
            threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(b'')

    def tell(self, command: dict[str, Any]) -> None:
        """Send one command."""
        if self._process.stdin is None:
            raise TwinError(f'{self._path.name} takes no commands')
        with contextlib.suppress(BrokenPipeError):  # it has ended: answer() says so
            self._process.stdin.write(json.dumps(command).encode() + b'\n')
            self._process.stdin.flush()

    def answer(self, deadline_s: float) -> dict[str, Any]:
        """Return the next answer.

        Raises:
            TwinError: when it does not come in time, the process has ended, or it answers with an error.
        """
        try:
            line = self._lines.get(timeout=deadline_s)
        except queue.Empty:
            raise TwinError(f'{self._path.name}: no answer within {deadline_s:g} s') from None
        if not line:
            raise TwinError(f'{self._path.name}: the process has ended: {self.last_words()}')
        answer: dict[str, Any] = json.loads(line)
        if 'error' in answer:
            raise TwinError(f'{self._path.name}: {answer["error"]}')
        return answer

    def ask(self, command: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        """Send one command and return its answer."""
        self.tell(command)
        return self.answer(deadline_s)

    def cpu_s(self) -> float:
        """Processor time of the whole process so far, user and system [s]."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def memory_mb(self) -> float:
        """Resident memory of the process [MB]."""
        return float(psutil.Process(self._process.pid).memory_info().rss) / 1e6

    def last_words(self) -> str:
        """Return the end of its log, for an error message."""
        return self._path.read_text(errors='replace')[-500:].strip() or f'exit code {self._process.poll()}'

    def stop(self) -> None:
        """End the process, kindly first."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> 'BenchProcess':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def environment(domain: int, folder: Path) -> dict[str, str]:
    """Return the environment that `twin launch` gives its nodes, in a domain of its own.

    The mark that the start-up hook of the ROS wheels leaves is taken out: the node starts as from a fresh shell.
    """
    given = child_environment(os.environ)
    given.pop(GUARD, None)
    libraries = [item for item in given.get('LD_LIBRARY_PATH', '').split(os.pathsep) if item]
    given['LD_LIBRARY_PATH'] = os.pathsep.join(item for item in libraries if not Path(item).is_relative_to(sys.prefix))
    if not given['LD_LIBRARY_PATH']:
        del given['LD_LIBRARY_PATH']
    return given | {'ROS_DOMAIN_ID': str(domain), 'ROS_LOG_DIR': str(folder / 'ros_log')}


def module(name: str, *arguments: str) -> list[str]:
    """Return the command for a module of the bench."""
    return [sys.executable, '-m', f'twin_nodes.app.bench.{name}', *arguments]


def tracker_node(namespace: str, parameters: Path) -> list[str]:
    """Return the command for tracker_node as a user types it: the console script, or the module without one."""
    script = Path(sys.executable).with_name('tracker_node')
    program = [str(script)] if script.is_file() else [sys.executable, '-m', 'twin_nodes.nodes.tracker_node']
    return [*program, '--ros-args', '-r', f'__ns:=/{namespace}', '--params-file', str(parameters)]
