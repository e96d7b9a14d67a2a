"""Runs a launch plan: a process per node, output line by line, respawn, and an end within one second."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from twin_nodes.app.launch.evaluate import plan_launch
from twin_nodes.app.launch.plan import LaunchPlan, ProcessPlan

OnLine = Callable[[str, str], None]

TERMINATE_AFTER_S = 0.6
KILL_AFTER_S = 0.8
GIVE_UP_AFTER_S = 3.0
MAX_LINE_BYTES = 65_536
TAIL_LINES = 12
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass
class LaunchedProcess:
    """A process of a session.

    Args:
        plan: What was to be started.
        pid: Its process id, 0 before the first start.
        returncode: How it ended last, or None while it runs.
        restarts: How often it was started again.
        failure: Why it could not be started, or ''.
        tail: Its last lines.
    """

    plan: ProcessPlan
    pid: int = 0
    returncode: int | None = None
    restarts: int = 0
    failure: str = ''
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    started: bool = False
    start_again_at: float | None = None

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self.started and self.returncode is None and not self.failure

    @property
    def failed(self) -> bool:
        """Whether it ended by an error."""
        return bool(self.failure) or self.returncode not in (None, 0)

    @property
    def ending(self) -> str:
        """How it ended, for people."""
        if self.failure:
            return f'could not be started: {self.failure}'
        if self.returncode is not None and self.returncode < 0:
            with contextlib.suppress(ValueError):
                return f'was ended by {signal.Signals(-self.returncode).name}'
        return f'ended with exit code {self.returncode}'


@dataclass(frozen=True)
class _Ended:
    process: LaunchedProcess
    returncode: int


class LaunchSession:
    """Launches a file and watches over its processes.

    One thread starts and reaps all processes: the kernel kills a process when the thread that started it is gone, so
    that none outlives the session even when the session itself is killed.

    Args:
        launch_file: Launch XML file.
        arguments: Launch arguments.
        env: The user's environment, or None for ours.
        on_line: Called with label and line for each line of output, from several threads; None drops them.

    Raises:
        ConfigError: when the file cannot be evaluated.
    """

    def __init__(
        self,
        launch_file: Path | str,
        arguments: Mapping[str, str] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
    ) -> None:
        self.plan: LaunchPlan = plan_launch(Path(launch_file), arguments or {}, os.environ if env is None else env)
        self.processes = [LaunchedProcess(plan) for plan in self.plan.processes]
        self._on_line = on_line
        self._events: queue.SimpleQueue[_Ended | None] = queue.SimpleQueue()
        self._stop_requested = False
        self._finished = threading.Event()
        self._stopping_since: float | None = None
        self._hurry = False
        self._stages: list[tuple[float, signal.Signals]] = []
        self._thread: threading.Thread | None = None
        self.culprits: list[LaunchedProcess] = []

    def __enter__(self) -> LaunchSession:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all processes; returns when each was started or could not be."""
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name='launch', daemon=True)
        self._thread.start()
        started.wait()

    def alive(self) -> bool:
        """Whether any process runs or waits to be started again."""
        return self._thread is not None and not self._finished.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all has ended; returns whether it has."""
        return self._finished.wait(timeout_s)

    def request_stop(self) -> None:
        """Ask all processes to end, without waiting; a second call kills them. Safe in a signal handler."""
        self._hurry = self._stop_requested  # plain values: a lock could be held where the signal interrupts
        self._stop_requested = True
        self._events.put(None)

    def stop(self) -> int:
        """End all processes within one second and return the exit code."""
        if self._thread is not None and not self._finished.is_set():
            if not self._stop_requested:
                self.request_stop()
            self._finished.wait()
        return self.exit_code

    @property
    def exit_code(self) -> int:
        """0 when no process ended by an error of its own, else 1; see `culprits`."""
        return 1 if self.culprits else 0

    def report(self) -> str:
        """Say which processes ended by an error, with their last lines; '' when none did."""
        blocks = []
        for process in self.culprits:
            tail = ''.join(f'\n    {line}' for line in process.tail)
            blocks.append(f'{process.plan.label} ({process.plan.where}) {process.ending}{tail}')
        return '\n'.join(blocks)

    def _run(self, started: threading.Event) -> None:
        with tempfile.TemporaryDirectory(prefix='twin_launch_') as folder:
            try:
                for process in self.processes:
                    self._start(process, Path(folder))
                started.set()
                while any(p.running or p.start_again_at is not None for p in self.processes):
                    self._step(Path(folder))
                    if self._given_up():
                        break
            finally:
                started.set()
                self._finished.set()

    def _given_up(self) -> bool:
        since = self._stopping_since
        return since is not None and time.monotonic() - since > GIVE_UP_AFTER_S

    def _step(self, folder: Path) -> None:
        """Wait for the next thing to happen and deal with it."""
        now = time.monotonic()
        moments = [p.start_again_at for p in self.processes if p.start_again_at is not None]
        moments += [moment for moment, _ in self._stages[:1]]
        moments += [self._stopping_since + GIVE_UP_AFTER_S + 0.01] if self._stopping_since is not None else []
        with contextlib.suppress(queue.Empty):
            event = self._events.get(timeout=max(0.0, min(moments) - now) if moments else None)
            if event is not None:
                self._ended(event)
        if self._stop_requested:
            self._begin_stop()
        now = time.monotonic()
        while self._stages and self._stages[0][0] <= now:
            self._signal_all(self._stages.pop(0)[1])
        for process in self.processes:
            if process.start_again_at is not None and process.start_again_at <= now:
                process.restarts += 1
                self._start(process, folder)

    def _begin_stop(self) -> None:
        now = time.monotonic()
        if self._stopping_since is None:
            self._stopping_since = now
            for process in self.processes:
                process.start_again_at = None
            self._signal_all(signal.SIGINT)
            self._stages = [(now + TERMINATE_AFTER_S, signal.SIGTERM), (now + KILL_AFTER_S, signal.SIGKILL)]
        if self._hurry and self._stages:
            self._stages = [(now, signal.SIGKILL)]

    def _signal_all(self, which: signal.Signals) -> None:
        for process in self.processes:
            if process.running:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, which)

    def _start(self, process: LaunchedProcess, folder: Path) -> None:
        plan, parent = process.plan, os.getpid()
        process.start_again_at = None

        def die_with_parent() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)

        try:
            child = subprocess.Popen(
                plan.command(folder),
                env=dict(plan.environment),
                cwd=plan.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        except (OSError, subprocess.SubprocessError) as error:
            process.failure = str(error)
            self.culprits.append(process)
            return
        process.pid, process.returncode, process.started = child.pid, None, True
        reader = threading.Thread(target=self._read, args=(process, child), daemon=True)
        reader.start()
        threading.Thread(target=self._reap, args=(process, child, reader), daemon=True).start()

    def _read(self, process: LaunchedProcess, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        with contextlib.suppress(ValueError, OSError):
            for raw in iter(lambda: child.stdout.readline(MAX_LINE_BYTES), b''):  # type: ignore[union-attr]
                line = raw.decode('utf-8', errors='replace').rstrip('\r\n')
                process.tail.append(line)
                if self._on_line is not None:
                    self._on_line(process.plan.label, line)

    def _reap(self, process: LaunchedProcess, child: subprocess.Popen[bytes], reader: threading.Thread) -> None:
        returncode = child.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # what it left behind in its group
        reader.join(timeout=0.5)
        self._events.put(_Ended(process, returncode))

    def _ended(self, event: _Ended) -> None:
        process, plan = event.process, event.process.plan
        process.returncode = event.returncode
        if self._stopping_since is not None or self._stop_requested:
            return
        retries_left = plan.respawn_max_retries < 0 or process.restarts < plan.respawn_max_retries
        if plan.respawn and retries_left and not plan.shutdown_on_exit:
            self._say(process, f'{process.ending}; it starts again in {plan.respawn_delay_s:g} s')
            process.start_again_at = time.monotonic() + plan.respawn_delay_s
            return
        if process.failed:
            self.culprits.append(process)
        self._say(process, f'{process.ending}' + ('; it was required, so all stop' if plan.shutdown_on_exit else ''))
        if plan.shutdown_on_exit:
            self.request_stop()

    def _say(self, process: LaunchedProcess, text: str) -> None:
        if self._on_line is not None:
            self._on_line('twin launch', f'{process.plan.label} {text}')
