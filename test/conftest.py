"""Fixtures that all tests share."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from twin_nodes.app.bench.domain import take_domain

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')


# that of the environment comes first, but two shells may have the same; the lock is held until this process ends
_domain, _DOMAIN_LOCK = take_domain(int(os.environ.get('ROS_DOMAIN_ID') or 1 + os.getpid() % 100))
os.environ['ROS_DOMAIN_ID'] = str(_domain)
for _variable in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'NUMBA_NUM_THREADS'):
    os.environ.setdefault(_variable, '1')

DEADLINE_S = 30.0

# how long an example takes says something of the machine, and nothing of the code
settings.register_profile('any_machine', settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('any_machine')


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """The folder of real recordings that may stand beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / 'shared' / 'data'
    if not folder.is_dir():
        pytest.skip('no ../shared/data beside this checkout: real recordings are not part of the repository')
    return folder


@pytest.fixture(scope='session', autouse=True)
def _logs_out_of_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ['ROS_LOG_DIR'] = str(tmp_path_factory.mktemp('ros_log'))


@pytest.fixture
def ros_context() -> Iterator[object]:
    """A context of its own for each test, so that nothing leaks from one to the next."""
    import rclpy
    from rclpy.context import Context

    context = Context()
    rclpy.init(context=context)
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def spin(ros_context) -> Iterator[Callable[..., None]]:
    """Spin given nodes in one executor until a condition holds, or fail at the deadline."""
    import time

    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor(context=ros_context)
    known: set[int] = set()

    def until(
        condition: Callable[[], bool], *nodes, deadline_s: float = DEADLINE_S, what: str = 'the condition'
    ) -> None:
        for node in nodes:
            if id(node) not in known:
                known.add(id(node))
                executor.add_node(node)
        end = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end:
                pytest.fail(f'{what} did not come true within {deadline_s} s')
            executor.spin_once(timeout_sec=0.05)

    yield until
    executor.shutdown()


@pytest.fixture
def in_thread() -> Iterator[Callable[..., threading.Thread]]:
    """Start daemon threads and join them at the end of the test."""
    threads: list[threading.Thread] = []

    def start(target: Callable[..., object], *args) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)
        thread.start()
        threads.append(thread)
        return thread

    yield start
    for thread in threads:
        thread.join(timeout=5.0)
