"""The page in a real browser, fed by a fake room over real DDS: it moves, it loses a tool, it alarms, it stays here."""

import io
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright
from view_bag import write_bag
from view_room import TOOL, FakeRoom

pytestmark = pytest.mark.browser

FLAGS = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--use-angle=swiftshader',
    '--enable-unsafe-swiftshader',
]
DEADLINE_MS = 60_000
PERIOD_S = 1.0 / 30.0
LIVE = '[data-view=live]'
REPLAY = "word => document.querySelector('[data-view=replay]')?.innerText.includes(word)"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.fixture
def room(ros_context):
    """A room that publishes 30 frames a second in a thread, with the drill near the nerve."""
    room = FakeRoom(context=ros_context)
    stop = threading.Event()

    def play() -> None:
        frame = 0
        while not stop.wait(PERIOD_S):
            room.step(5.0 + frame * PERIOD_S)
            if frame % 30 == 0:
                room.report()
            frame += 1

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    yield room
    stop.set()
    thread.join(timeout=5.0)
    room.destroy_node()


@pytest.fixture
def url():
    """The address of a view node in a process of its own."""
    url = f'http://127.0.0.1:{free_port()}'
    parameters = ['-p', f"tools:=['{TOOL}']", '-p', f'port:={urlsplit(url).port}']
    node = subprocess.Popen(
        [sys.executable, '-m', 'twin_nodes.nodes.view_node', '--ros-args', *parameters],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_for_page(url, node)
        yield url
    finally:
        node.terminate()
        output = node.communicate(timeout=30.0)[0].decode()
    assert 'Traceback' not in output, output


def wait_for_page(url: str, node: subprocess.Popen) -> None:
    end = time.monotonic() + 40.0
    while time.monotonic() < end and node.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1.0).close()
            return
        except OSError:
            threading.Event().wait(0.05)
    node.kill()
    pytest.fail(f'no page on {url}: {node.communicate()[0].decode()}')


@pytest.fixture
def page():
    """A page of a headless Chromium, 1280 × 720, that remembers every address it asked for."""
    executable = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    assert executable, 'no Chromium: apt-get install chromium'
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        page = browser.new_page(viewport={'width': 1280, 'height': 720})
        page.asked = []
        page.on('request', lambda request: page.asked.append(request.url))
        page.on('websocket', lambda websocket: page.asked.append(websocket.url))
        yield page
        browser.close()


def wait_for_text(page, *words: str) -> str:
    for word in words:
        page.wait_for_function(
            '([where, word]) => document.querySelector(where)?.innerText.includes(word)',
            arg=[LIVE, word],
            timeout=DEADLINE_MS,
        )
    return page.inner_text(LIVE)


def picture(page) -> np.ndarray:
    shot = page.screenshot(timeout=DEADLINE_MS, clip={'x': 0, 'y': 160, 'width': 870, 'height': 560})
    return np.asarray(Image.open(io.BytesIO(shot)).convert('RGB'), float)


def test_the_page_lives(room, url, page):
    page.goto(url)
    text = wait_for_text(page, 'facial_nerve', 'mm ±', '✓ tracked', 'FRE 0.27 mm')
    assert '▲ NEAR' in text or '● clear' in text or '◆ INSIDE' in text
    assert ' Hz · age' in text and 'σ' in text

    where = page.inner_text(f'[data-tool={TOOL}]')
    before = picture(page)
    assert before.std() > 10.0, 'the scene is empty'
    page.wait_for_function(
        '([tool, before]) => document.querySelector(`[data-tool=${tool}]`).innerText != before',
        arg=[TOOL, where],
        timeout=DEADLINE_MS,
    )
    end = time.monotonic() + 40.0
    while np.mean(np.abs(picture(page) - before).max(axis=2) > 30.0) < 1e-3:
        assert time.monotonic() < end, 'the picture did not change while the tool moved'

    room.alarm('STRUCTURE_BREACHED', 'facial_nerve: 0.4 mm inside')
    wait_for_text(page, 'facial_nerve: 0.4 mm inside', 'STRUCTURE_BREACHED')

    room.lost = True
    room.report()
    text = wait_for_text(page, '✕ LOST', 'hidden from the tracker', 'last at')
    assert '✕ LOST' in page.inner_text(f'tr:has([data-tool={TOOL}])')
    assert '✓ tracked' in page.inner_text('tr:has([data-tool=patient])')
    assert 'mm ±' not in text, 'a distance of a lost tool is no distance'
    room.lost = False
    room.report()
    wait_for_text(page, 'mm ±')
    assert '✓ tracked' in page.inner_text(f'tr:has([data-tool={TOOL}])')

    room.silent = True
    wait_for_text(page, '✕ LOST', 'no new pose for')

    assert page.asked
    for asked in page.asked:
        assert urlsplit(asked.removeprefix('blob:')).hostname == '127.0.0.1' or asked.startswith('data:'), asked


def test_structures_can_be_hidden_and_the_camera_follows(room, url, page):
    page.goto(url)
    wait_for_text(page, 'facial_nerve', '✓ tracked')
    page.get_by_role('tab', name='Structures').click()
    boxes = page.get_by_role('checkbox')
    boxes.nth(5).wait_for(timeout=DEADLINE_MS)
    assert boxes.count() == 6, 'follow, two of the cut, three structures'
    before = picture(page)
    for i in range(3, 6):
        boxes.nth(i).uncheck()
    end = time.monotonic() + 40.0
    while np.mean(np.abs(picture(page) - before).max(axis=2) > 20.0) < 0.03:
        assert time.monotonic() < end, 'hiding all structures did not change the picture'
    boxes.nth(0).check()
    assert boxes.nth(0).is_checked()


def test_the_scrubber_of_a_bag_is_moved_paused_and_stepped_to_the_alarm(tmp_path, page):
    bag, port = write_bag(tmp_path / 'bag', seconds=8.0), free_port()
    url = f'http://127.0.0.1:{port}'
    command = [sys.executable, '-m', 'twin_nodes', 'view', str(bag), '--port', str(port), '--paused']
    viewer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_for_page(url, viewer)
        page.goto(url)
        page.wait_for_function(REPLAY, arg='0:00.0 of 0:08.0', timeout=DEADLINE_MS)
        page.wait_for_function("() => document.querySelector('[data-view=strip] title') !== null", timeout=DEADLINE_MS)
        page.get_by_role('button', name='next alarm').click()
        page.wait_for_function(REPLAY, arg='0:03.0', timeout=DEADLINE_MS)
        page.get_by_role('slider').first.focus()
        page.keyboard.press('End')
        page.wait_for_function(REPLAY, arg='0:08.0 of', timeout=DEADLINE_MS)
        wait_for_text(page, '✓ tracked', 'structure_near')
        for _ in range(2):
            page.get_by_role('button', name='−5 s').click()
            page.get_by_role('button', name='+5 s').click()
        page.wait_for_function(REPLAY, arg='0:08.0 of', timeout=DEADLINE_MS)
        page.get_by_role('button', name='play/pause').click()
        page.wait_for_function(REPLAY, arg='▶ playing', timeout=DEADLINE_MS)
        wait_for_text(page, '✕ LOST')
    finally:
        viewer.send_signal(signal.SIGINT)
        output = viewer.communicate(timeout=30.0)[0].decode()
    assert viewer.returncode == 0 and 'Traceback' not in output, output


def test_the_node_refuses_a_taken_port_in_one_line():
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        node = subprocess.run(
            [sys.executable, '-m', 'twin_nodes.nodes.view_node', '--ros-args', '-p', "tools:=['drill']", '-p',
             f'port:={port}'],
            capture_output=True, text=True, timeout=60.0,
        )  # fmt: skip
    assert node.returncode == 1
    assert f'configuration: port {port} is taken' in node.stderr
    assert 'Traceback' not in node.stderr
