"""What the socket tests open is closed at their end."""

import contextlib

import pytest
from igtl_room import RawClient, ServerThread, SourceThread


@pytest.fixture
def room():
    """Opens servers, sources and raw clients, and closes them all."""
    with contextlib.ExitStack() as stack:

        class Room:
            def serve(self, **kwargs):
                server = ServerThread(**kwargs)
                stack.callback(server.close)
                return server

            def listen(self, port, **kwargs):
                source = SourceThread(port, **kwargs)
                stack.callback(source.stop)
                return source

            def connect(self, port):
                client = RawClient(port)
                stack.callback(client.close)
                return client

        yield Room()
