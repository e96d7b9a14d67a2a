"""Bench `view`: surfaces a second, age of what is seen, processor and memory of the live view, and the demo's start.

A liver of 20 000 triangles deforms thirty times a second while three browsers look. For speed the browsers have no
screen: they take and decode what the page is sent, so that drawing in software does not hide what the node costs. For
memory they are three Chromium, where it is installed and time allows: ten minutes, half a minute with `--quick`.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from twin_nodes.app.bench.domain import own_domain
from twin_nodes.app.bench.tracking_processes import BenchProcess, environment, module
from twin_nodes.app.bench.view_reader import PageReader
from twin_nodes.app.bench.view_source import SURFACE_HZ, TOOL
from twin_nodes.app.demo_session import free_port
from twin_nodes.app.figures import judge
from twin_nodes.core.errors import TwinError

BROWSERS = 3
WARM_S = 4.0
READY_S = 60.0
SAMPLE_S = 1.0
DEMO_S = 60.0
SPEED_S, MEMORY_S, SETTLE_S = {True: 6.0, False: 30.0}, {True: 10.0, False: 600.0}, {True: 4.0, False: 60.0}
CHROMIUM = ('chromium', 'chromium-browser', 'google-chrome')
FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--use-angle=swiftshader', '--enable-unsafe-swiftshader',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run',
    '--window-size=1280,720', '--remote-debugging-port=0', '--disable-dev-shm-usage',
)  # fmt: skip
NICE = 19


def run(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield the figures.

    Raises:
        TwinError: a process did not come up, or ended.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with own_domain() as domain:
            yield from _page_figures(folder, domain, quick)
        with own_domain() as domain:
            yield _demo_figure(folder, domain)


def _page_figures(folder: Path, domain: int, quick: bool) -> Iterator[dict[str, Any]]:
    given, port = environment(domain, folder), free_port()
    url = f'http://127.0.0.1:{port}'
    node = [sys.executable, '-m', 'twin_nodes.nodes.view_node', '--ros-args', '-p', f"tools:=['{TOOL}']",
            '-p', f'port:={port}']  # fmt: skip
    with (
        BenchProcess(module('view_source'), given, folder / 'source.log'),
        BenchProcess(node, given, folder / 'view.log') as view,
    ):
        _wait_for_page(url, view)
        yield from _speed(url, view, given, folder, SPEED_S[quick])
        yield from _memory(url, view, given, folder, quick)


def _speed(
    url: str, view: BenchProcess, given: dict[str, str], folder: Path, seconds: float
) -> Iterator[dict[str, Any]]:
    command = module('view_reader', url, str(seconds), str(WARM_S))
    readers = [
        subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=(folder / 'reader.log').open('ab'))
        for _ in range(BROWSERS)
    ]
    time.sleep(WARM_S)
    cpu_s, start = view.cpu_s(), time.monotonic()
    seen = []
    for reader in readers:
        output = reader.communicate(timeout=READY_S + seconds)[0]
        if reader.returncode:
            raise TwinError(f'bench view: a reader ended with {reader.returncode}')
        seen.append(json.loads(output))
    cpu = (view.cpu_s() - cpu_s) / (time.monotonic() - start)
    ages = np.concatenate([one['ages_ms'] for one in seen]) if all(one['ages_ms'] for one in seen) else np.array([])
    slowest = min(one['surfaces'] for one in seen) / seconds
    yield vars(judge('view_surface_updates_hz', slowest, 'Hz', at_least=0.95 * SURFACE_HZ))
    yield vars(judge('view_pose_to_browser_p50_ms', _quantile(ages, 50.0), 'ms', at_most=100.0))
    yield vars(judge('view_pose_to_browser_p95_ms', _quantile(ages, 95.0), 'ms'))
    yield vars(judge('view_cpu_percent', 100.0 * cpu, '%'))
    yield vars(judge('view_sent_per_browser_mb_s', min(one['bytes'] for one in seen) / seconds / 1e6, 'MB/s'))


def _quantile(values: np.ndarray, percent: float) -> float | None:
    return float(np.percentile(values, percent)) if len(values) else None


def _memory(url: str, view: BenchProcess, given: dict[str, str], folder: Path, quick: bool) -> Iterator[dict[str, Any]]:
    """Look with three browsers for long; whether the memory of the node grows."""
    seconds, settle = MEMORY_S[quick], SETTLE_S[quick]
    browsers = _browsers(url, folder, seconds + settle, given, screens=not quick)
    try:
        time.sleep(settle)
        times, node, pages = [], [], []
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            times.append(now)
            node.append(view.memory_mb())
            pages.append(sum(_tree_mb(process.pid) for process in browsers))
            time.sleep(SAMPLE_S)
        if any(process.poll() is not None for process in browsers):
            raise TwinError('bench view: a browser has ended before its time')
    finally:
        for process in browsers:
            _end_tree(process)
    slope = 3600.0 * float(np.polyfit(np.array(times) - times[0], node, 1)[0])
    third = max(len(node) // 3, 1)
    growth = float(np.median(node[-third:]) - np.median(node[:third]))
    yield vars(judge('view_browsers', float(len(browsers)), '', at_least=BROWSERS))
    yield vars(judge('view_memory_mb', float(np.median(node)), 'MB'))
    yield vars(judge('view_memory_growth_mb', growth, 'MB', at_most=5.0))
    yield vars(judge('view_memory_slope_mb_per_h', slope, 'MB/h', **({} if quick else {'at_most': 20.0})))
    grown = float(np.median(pages[-third:]) - np.median(pages[:third]))
    yield vars(judge('view_browser_memory_growth_mb', grown / len(browsers), 'MB'))


def _browsers(
    url: str, folder: Path, seconds: float, given: dict[str, str], *, screens: bool
) -> list[subprocess.Popen[bytes]]:
    """Start three Chromium, gently, or three readers where there is none or no time."""
    chromium = next((found for name in CHROMIUM if (found := shutil.which(name))), None) if screens else None
    started = []
    for index in range(BROWSERS):
        command = module('view_reader', url, str(seconds + READY_S), '0')
        if chromium is not None:
            command = [chromium, *FLAGS, f'--user-data-dir={folder / f"browser{index}"}', url]
        with (folder / 'browser.log').open('ab') as log:
            started.append(
                subprocess.Popen(['nice', '-n', str(NICE), *command], env=given, stdout=log, stderr=log,
                                 start_new_session=True)
            )  # fmt: skip
    return started


def _tree_mb(pid: int) -> float:
    """Memory of a process and all that it started, what they share counted once each [MB]."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_info().rss - process.memory_info().shared
    except psutil.NoSuchProcess:
        pass
    return total / 1e6


def _end_tree(process: subprocess.Popen[bytes]) -> None:
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=3.0)
    for one in alive:
        one.kill()
    process.wait()


def _wait_for_page(url: str, view: BenchProcess) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=1.0).close()  # noqa: S310
            return
        except OSError:
            time.sleep(0.05)
    raise TwinError(f'bench view: no page on {url}: {view.last_words()}')


def _demo_figure(folder: Path, domain: int) -> dict[str, Any]:
    """Time from `twin demo` to the first picture in which a tool has moved, as a browser gets it."""
    port = free_port()
    command = [sys.executable, '-m', 'twin_nodes', 'demo', '--port', str(port), '--seconds', str(DEMO_S),
               '--out', str(folder / 'demo')]  # fmt: skip
    reader = PageReader(f'http://127.0.0.1:{port}')
    with BenchProcess(command, environment(domain, folder), folder / 'demo.log') as demo:
        asyncio.run(reader.read(DEMO_S, until_moving=True))
        if reader.first_moving is None:
            raise TwinError(f'bench view: nothing moved in the demo: {demo.last_words()}')
        seconds = reader.first_moving - 1e-9 * demo.started_ns
    return vars(judge('demo_first_moving_picture_s', seconds, 's', at_most=10.0))
