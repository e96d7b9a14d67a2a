"""A server and sources in threads of their own, and waiting with a deadline."""

import asyncio
import socket
import threading
import time

from twin_nodes.io.openigtlink.client import OpenIGTLinkSource, OpenIGTLinkSourceConfig
from twin_nodes.io.openigtlink.codec import Decoder
from twin_nodes.io.openigtlink.server import OpenIGTLinkServer

DEADLINE_S = 10.0


class ServerThread:
    """An OpenIGTLinkServer whose methods are called from the thread of a test."""

    def __init__(self, port=0, **kwargs):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.server = OpenIGTLinkServer(**kwargs)
        self.port = self._await(self.server.start('127.0.0.1', port))

    def _await(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE_S)

    def call(self, function, *args, **kwargs):
        async def inside():
            return function(*args, **kwargs)

        return self._await(inside())

    def send(self, stamp_ns, **poses):
        self.call(self.server.send_frame, stamp_ns, poses)

    def wait(self, condition, what):
        """Wait until condition(server) holds, checked between the steps of the loop."""

        async def inside():
            async with asyncio.timeout(DEADLINE_S):
                while not condition(self.server):
                    await asyncio.sleep(0.002)

        try:
            self._await(inside())
        except TimeoutError:
            raise AssertionError(f'{what}: not within {DEADLINE_S} s') from None

    def wait_for_streams(self, *streams):
        self.wait(lambda server: sorted(s.stream for s in server.clients) == sorted(streams), f'streams {streams}')

    def close(self):
        if self._thread.is_alive():
            self._await(self.server.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(DEADLINE_S)
            self._loop.close()


class SourceThread:
    """An OpenIGTLinkSource in a thread, with all that it delivered."""

    def __init__(self, port, now_ns=time.monotonic_ns, **config):
        config = {'reconnect_min_s': 0.01, 'reconnect_max_s': 0.05} | config
        self.source = OpenIGTLinkSource(OpenIGTLinkSourceConfig(port=port, **config), now_ns)
        self.frames, self.events, self.error = [], [], None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self.source.run(self._on_frame, self._on_event)
        except Exception as error:
            self.error = error

    def _on_frame(self, frame):
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()

    def _on_event(self, event):
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait(self, condition, what):
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), DEADLINE_S):
                raise AssertionError(f'{what}: not within {DEADLINE_S} s; events {self.events}')

    def wait_for_event(self, code, count=1):
        self.wait(lambda me: sum(e.code == code for e in me.events) >= count, f'{count} × {code}')

    def wait_for_frames(self, count):
        self.wait(lambda me: len(me.frames) >= count, f'{count} frames')

    def wait_for_readings(self, count):
        """Tools pushed one by one may come in one frame or in several, as the bytes do."""
        self.wait(lambda me: sum(len(f.readings) for f in me.frames) >= count, f'{count} readings')

    def stop(self):
        """Returns how long it took [s]."""
        start = time.monotonic()
        self.source.stop()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        return time.monotonic() - start


class RawClient:
    """A client that speaks bytes."""

    def __init__(self, port):
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=DEADLINE_S)
        self._decoder, self._messages = Decoder(), []

    def send(self, data):
        self.socket.sendall(data)

    def next(self):
        while not self._messages:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError('closed by the server')
            self._messages += self._decoder.feed(data)
        return self._messages.pop(0)

    def close(self):
        self.socket.close()
