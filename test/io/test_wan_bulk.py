"""Bulk between two sites over Zenoh on loopback: it arrives, survives a cut, and strangers are refused."""

import os
import socket
import threading
import time

from twin_nodes.io.wan_bulk import BulkLink

DEADLINE_S = 30.0
MESH = os.urandom(200_000)


def endpoint():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return f'tcp/127.0.0.1:{probe.getsockname()[1]}'


class End:
    def __init__(self, role, where, key=b'k' * 32, rate_bps=1e9):
        self.heard, self.came = {}, threading.Event()
        topics = {'outgoing': ('anatomy/surface',), 'incoming': ('anatomy/surface',)}
        self.link = BulkLink(key, role=role, endpoint=where, rate_bps=rate_bps, on_message=self._on, **topics)

    def _on(self, topic, content):
        self.heard[topic] = content
        self.came.set()


def wait_for(condition):
    end = time.monotonic() + DEADLINE_S
    look = threading.Event()
    while not condition():
        assert time.monotonic() < end, 'the deadline has passed'
        look.wait(0.05)


def test_the_newest_arrives_and_arrives_again_after_a_cut():
    where = endpoint()
    follower = End('follower', where)
    leader = End('leader', where)
    try:
        follower.link.offer('anatomy/surface', b'old')
        follower.link.offer('anatomy/surface', MESH)
        wait_for(lambda: leader.heard.get('anatomy/surface') == MESH)
    finally:
        leader.link.stop()
    reborn = End('leader', where)  # knows nothing: what it lacks is sent without being offered again
    try:
        wait_for(lambda: reborn.heard.get('anatomy/surface') == MESH)
        follower.link.offer('anatomy/surface', b'newer')
        wait_for(lambda: reborn.heard.get('anatomy/surface') == b'newer')
    finally:
        reborn.link.stop()
        follower.link.stop()


def test_another_key_is_refused():
    where = endpoint()
    follower, stranger = End('follower', where), End('leader', where, key=b'x' * 32)
    try:
        stranger.link.offer('anatomy/surface', b'poison')
        wait_for(lambda: follower.link.counts['refused'] > 0)
        assert follower.heard == {}
    finally:
        stranger.link.stop()
        follower.link.stop()
