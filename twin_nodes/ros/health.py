"""Health of a node: checks and counters, sent to /diagnostics each second and at once when something changes."""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from twin_nodes.ros.qos import DIAGNOSTICS

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR
STALE = DiagnosticStatus.STALE

PERIOD_S = 1.0
WARN_PERIOD_S = 2.0


class _Check(NamedTuple):
    """How a check stands: told with each pose by some, made a message once a second."""

    level: bytes
    code: str
    message: str
    values: Mapping[str, object]


class Health:
    """The checks of one node.

    Callable from any thread. A check is named '<node>: <check>', the node with its namespace if it has one; its values
    always hold 'code', a stable code that `twin explain` knows.

    Args:
        node: The node whose health this is.
        hardware_id: Serial number or address of what stands behind the node.
    """

    def __init__(self, node: Node, *, hardware_id: str = '') -> None:
        self._node = node
        self._name = node.get_fully_qualified_name().lstrip('/')
        self._hardware_id = hardware_id
        self._lock = threading.Lock()
        self._checks: dict[str, _Check] = {}
        self._counters: Counter[str] = Counter()
        self._warned: dict[str, float] = {}
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', DIAGNOSTICS)
        self._timer = node.create_timer(PERIOD_S, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def set(
        self,
        check: str,
        level: bytes,
        code: str,
        message: str,
        values: Mapping[str, object] | None = None,
    ) -> None:
        """State how a check stands; a new level or code is published at once. The values must not change any more."""
        now = _Check(level, code, message, values or {})
        with self._lock:
            before = self._checks.get(check)
            self._checks[check] = now
        if before is None or before.level != level or before.code != code:
            self._send([self._made(check, now)])

    def _made(self, check: str, told: _Check) -> DiagnosticStatus:
        status = self._named(check, told.level, told.message)
        status.values = [KeyValue(key='code', value=told.code)]
        status.values += [KeyValue(key=key, value=_text(value)) for key, value in told.values.items()]
        return status

    def _named(self, check: str, level: bytes, message: str) -> DiagnosticStatus:
        return DiagnosticStatus(
            name=f'{self._name}: {check}', level=level, message=message, hardware_id=self._hardware_id
        )

    def code(self, check: str) -> str:
        """Return the code that a check stands at, '' before it was first set."""
        with self._lock:
            told = self._checks.get(check)
        return told.code if told is not None else ''

    def status(self, check: str) -> DiagnosticStatus | None:
        """Return how a check stands, as it is published; None before it was first set."""
        with self._lock:
            told = self._checks.get(check)
        return None if told is None else self._made(check, told)

    def clear(self, check: str) -> None:
        """Say nothing of a check any more."""
        with self._lock:
            self._checks.pop(check, None)

    def count(self, code: str, amount: int = 1) -> None:
        """Add to the counter of a code."""
        with self._lock:
            self._counters[code] += amount

    def set_count(self, code: str, total: int) -> None:
        """State the total of a counter that is kept elsewhere."""
        with self._lock:
            self._counters[code] = total

    def warn(self, code: str, message: str) -> None:
        """Count a dropped input and log it, at most once in two seconds for each code."""
        self.count(code)
        now = time.monotonic()
        if now - self._warned.get(code, -WARN_PERIOD_S) >= WARN_PERIOD_S:  # rclpy's own throttle costs 1 ms a call
            self._warned[code] = now
            self._node.get_logger().warning(f'{code}: {message}')

    @property
    def counters(self) -> dict[str, int]:
        """A copy of the counters."""
        with self._lock:
            return dict(self._counters)

    def publish(self) -> None:
        """Publish all checks and the counters."""
        with self._lock:
            checks = list(self._checks.items())
            counters = sorted(self._counters.items())
        summary = self._named('counters', OK, '')
        summary.values = [KeyValue(key='code', value='OK')]
        summary.values += [KeyValue(key=code, value=str(count)) for code, count in counters]
        summary.message = ', '.join(f'{code} {count}' for code, count in counters) or 'nothing dropped'
        self._send([*(self._made(*one) for one in checks), summary])

    def _send(self, statuses: list[DiagnosticStatus]) -> None:
        if not self._node.context.ok():  # a thread may still speak while the node goes down
            return
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def _text(value: object) -> str:
    return f'{value:.6g}' if isinstance(value, float) else str(value)
