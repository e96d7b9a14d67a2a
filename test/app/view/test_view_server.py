"""The page stays on this machine: no share tunnel, no foreign site, no other port than asked for."""

import socket
import urllib.error
import urllib.request

import pytest
import viser
from viser import _messages, _viser
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from twin_nodes.app.view.server import LocalServer, is_loopback
from twin_nodes.core.errors import ConfigError


@pytest.fixture
def server():
    server = LocalServer('127.0.0.1', 0, 'test')
    yield server
    server.stop()


def test_serves_on_loopback_and_prints_nothing(capfd):
    server = LocalServer('127.0.0.1', 0, 'test')
    with urllib.request.urlopen(server.url, timeout=30.0) as answer:
        page, headers = answer.read(), answer.headers
    server.stop()
    assert server.url.startswith('http://127.0.0.1:')
    assert b'<html' in page.lower()
    assert "default-src 'self'" in headers['Content-Security-Policy']
    assert capfd.readouterr().out == ''


def test_a_taken_port_is_said_and_port_zero_takes_the_next():
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f'port {port} is taken'):
            LocalServer('127.0.0.1', port, 'test')
    first, second = LocalServer('127.0.0.1', 0, 'a'), LocalServer('127.0.0.1', 0, 'b')
    assert 8080 <= first.get_port() < second.get_port()
    first.stop()
    second.stop()


@pytest.mark.parametrize('host', ['nowhere.invalid', '203.0.113.7'])
def test_a_host_that_is_not_ours_is_refused(host):
    with pytest.raises(ConfigError, match=host):
        LocalServer(host, 0, 'test')


def test_the_port_cannot_be_overridden_behind_the_configuration(monkeypatch):
    monkeypatch.setenv('_VISER_PORT_OVERRIDE', '9999')
    with pytest.raises(ConfigError, match='unset it'):
        LocalServer('127.0.0.1', 0, 'test')


def test_the_share_tunnel_is_refused_to_callers_and_to_clients(server, monkeypatch):
    opened = []
    monkeypatch.setattr(_viser, 'ViserTunnel', lambda *args: opened.append(args))
    with pytest.raises(ConfigError, match='share tunnel is refused'):
        server.request_share_url()
    handlers = server._websock_server._incoming_handlers.get(_messages.ShareUrlRequest, [])
    assert handlers == []
    assert opened == []


def websocket(server, **headers):
    url = server.url.replace('http', 'ws')
    return connect(url, subprotocols=[f'viser-v{viser.__version__}'], open_timeout=30.0, **headers)


def test_our_own_page_may_connect(server):
    with websocket(server, origin=server.url) as connection:
        assert connection.recv(timeout=30.0)


@pytest.mark.parametrize('origin', ['http://evil.example', 'http://127.0.0.1:1', 'null'])
def test_a_page_of_another_site_may_not_connect(server, origin):
    with pytest.raises(InvalidStatus, match='403'):
        websocket(server, origin=origin)


def test_a_name_rebound_to_this_machine_gets_nothing(server):
    request = urllib.request.Request(server.url, headers={'Host': f'evil.example:{server.get_port()}'})
    with pytest.raises(urllib.error.HTTPError, match='403'):
        urllib.request.urlopen(request, timeout=30.0)


@pytest.mark.parametrize(
    ('host', 'local'),
    [('127.0.0.1', True), ('localhost', True), ('::1', True), ('0.0.0.0', False), ('10.0.0.2', False), ('a.b', False)],
)
def test_is_loopback(host, local):
    assert is_loopback(host) is local
