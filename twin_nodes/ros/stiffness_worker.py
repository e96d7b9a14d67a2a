"""The process in which stiffness is estimated, so that no frame of the anatomy waits for it.

It is this module run by Python: a body comes first, then jobs, by pickle on standard input; results go back on standard
output. It ends when its input does, so it cannot outlive the node.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from typing import BinaryIO

from twin_nodes.core.anatomy.learning import LearnBody, LearnJob, LearnResult, LearnWork

_NICE = 10
_SLICE_S = 0.25
_ENDED = 'the process that estimates the stiffness has ended'


class StiffnessWorker:
    """Does one job after the other for one body.

    Args:
        body: The body as assumed.
    """

    def __init__(self, body: LearnBody) -> None:
        self._body = body
        self._process: subprocess.Popen[bytes] | None = None
        self._items: queue.SimpleQueue[LearnBody | LearnJob | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[LearnResult] = queue.SimpleQueue()
        self._current = [0]  # number of the job that the process has

    def start(self, job: LearnJob) -> None:
        """Begin a job; the process is started with the first one, and again when it has died. Waits for nothing."""
        if self._process is None or self._process.poll() is not None:
            self._begin()
        self._current[0] = job.number
        self._items.put(job)

    def _begin(self) -> None:
        self.close()
        command = [sys.executable, '-m', 'twin_nodes.ros.stiffness_worker']
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None and process.stdout is not None
        self._process, self._items, self._current = process, queue.SimpleQueue(), [0]
        self._items.put(self._body)
        for target, *parts in ((self._send, process.stdin, self._items), (self._read, process.stdout, self._current)):
            threading.Thread(target=target, args=tuple(parts), name='stiffness', daemon=True).start()

    def _send(self, stream: BinaryIO, items: 'queue.SimpleQueue[LearnBody | LearnJob | None]') -> None:
        """Write what is to be done, off the thread of the frames: a process that starts reads nothing for seconds."""
        with contextlib.suppress(OSError), stream:  # it has ended, as the reader says
            while (item := items.get()) is not None:
                pickle.dump(item, stream, pickle.HIGHEST_PROTOCOL)
                stream.flush()

    def _read(self, stream: BinaryIO, current: list[int]) -> None:
        with stream:
            try:
                while True:
                    self._results.put(pickle.load(stream))  # noqa: S301 - our own child wrote it
            except (EOFError, OSError, pickle.UnpicklingError):
                self._results.put(LearnResult(current[0], None, 'LEARNING_FAILED', _ENDED))

    def result(self, *, wait_s: float = 0.0) -> LearnResult | None:
        """Return the next result when it is there; in replay it is waited for.

        Args:
            wait_s: For so long at most [s].
        """
        waited = 0.0
        while True:
            try:
                return self._results.get(timeout=_SLICE_S) if waited < wait_s else self._results.get_nowait()
            except queue.Empty:
                waited += _SLICE_S
            if self._process is not None and self._process.poll() is not None:  # it died between two jobs
                self.close()
                return LearnResult(self._current[0], None, 'LEARNING_FAILED', _ENDED)
            if waited >= wait_s:
                return None

    def close(self) -> None:
        """End the process."""
        if self._process is None:
            return
        process, self._process = self._process, None
        self._items.put(None)
        process.kill()
        process.wait()


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Do jobs until the source ends."""
    work: LearnWork | None = None
    while True:
        try:
            item = pickle.load(source)  # noqa: S301 - our own parent wrote it
        except EOFError:
            return
        if isinstance(item, LearnBody):
            work = LearnWork(item)
        elif work is not None:
            pickle.dump(work.learn(item), sink, pickle.HIGHEST_PROTOCOL)
            sink.flush()


def main() -> None:
    """Serve the node that started this; what prints goes to standard error, as the output belongs to the results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the node, which ends this
    os.nice(_NICE)
    sink = os.fdopen(os.dup(sys.stdout.fileno()), 'wb')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, sink)


if __name__ == '__main__':
    main()
