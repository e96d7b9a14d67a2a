"""A viser server for this machine only: one port, no share tunnel, no foreign pages, no outside address."""

from __future__ import annotations

import contextlib
import http
import io
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import viser
import websockets.asyncio.server
from viser import _messages
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from twin_nodes.core.errors import ConfigError

DEFAULT_PORT = 8080
PORT_ATTEMPTS = 100

_start_lock = threading.Lock()


class LocalServer(viser.ViserServer):
    """A viser server that cannot be shared and talks to pages of its own only.

    viser checks neither Origin nor Host, so any web page open in the same browser could connect to it (cross-site
    WebSocket hijacking, DNS rebinding), and any client may ask it to open a public tunnel. Here both are refused, and
    a content security policy keeps the page from asking for an outside address.

    Args:
        host: Address to bind.
        port: Port to bind; 0 takes the first free one from 8080 on.

    Raises:
        ConfigError: when the port is taken or the address cannot be bound.
    """

    def __init__(self, host: str, port: int, label: str) -> None:
        if '_VISER_PORT_OVERRIDE' in os.environ:
            raise ConfigError('the environment variable _VISER_PORT_OVERRIDE overrides port: unset it')
        port = free_port(host, port)
        with _start_lock, _guarded(host), contextlib.redirect_stdout(io.StringIO()):
            super().__init__(host=host, port=port, label=label, verbose=False)
        for message in (_messages.ShareUrlRequest, _messages.ShareUrlDisconnect):
            self._websock_server.unregister_handler(message)
        if self.get_port() != port:
            self.stop()
            raise ConfigError(_taken(port))

    @property
    def url(self) -> str:
        """Address to open in a browser."""
        host = self.get_host()
        return f'http://{f"[{host}]" if ":" in host else host}:{self.get_port()}'

    def request_share_url(self, verbose: bool = True) -> str | None:
        """Refuse: this page shows a patient and never leaves the machine.

        Raises:
            ConfigError: always.
        """
        raise ConfigError('the share tunnel is refused: the view is never published outside; use an SSH tunnel')

    def stop(self) -> None:
        """Stop serving."""
        with contextlib.redirect_stdout(io.StringIO()):
            super().stop()


def free_port(host: str, port: int) -> int:
    """Return the port to bind.

    Raises:
        ConfigError: when the port is taken, or, for port 0, when all of the range are.
    """
    if port:
        _try(host, port)
        return port
    for candidate in range(DEFAULT_PORT, DEFAULT_PORT + PORT_ATTEMPTS):
        with contextlib.suppress(_PortTakenError):
            _try(host, candidate)
            return candidate
    raise ConfigError(f'ports {DEFAULT_PORT} to {DEFAULT_PORT + PORT_ATTEMPTS - 1} are all taken; free one or set port')


class _PortTakenError(ConfigError):
    pass


def _try(host: str, port: int) -> None:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except PermissionError:
        raise ConfigError(f'port {port} needs rights that this process lacks; choose one above 1023') from None
    except socket.gaierror:
        raise ConfigError(f'host {host!r} is not an address of this machine') from None
    except OSError as error:
        if error.errno == 98:
            raise _PortTakenError(_taken(port)) from None
        raise ConfigError(f'host {host!r} port {port} cannot be bound: {error.strerror}') from None


def _taken(port: int) -> str:
    return f'port {port} is taken; stop what uses it, choose another, or port: 0 for the next free one'


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    if host == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(host: str, headers: Headers) -> str | None:
    """Say why a request is refused, None when it may pass.

    A page of ours names this machine as Host, and its WebSocket an Origin equal to that Host.
    """
    asked = headers.get('Host', '')
    name = urlsplit(f'//{asked}').hostname or ''
    if is_loopback(host) and not is_loopback(name):
        return f'Host {asked!r} is not this machine'
    origin = headers.get('Origin')
    if origin is not None and urlsplit(origin).netloc != asked:
        return f'Origin {origin!r} is another site'
    return None


def policy(asked: str) -> str:
    """Return the content security policy for a page asked for as the (checked) host."""
    return (
        "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
        f"connect-src 'self' ws://{asked} wss://{asked} data: blob:; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


@contextlib.contextmanager
def _guarded(host: str) -> Iterator[None]:
    """Put the checks in front of the request handler that viser passes to its web server while it starts."""
    serve = websockets.asyncio.server.serve

    def guarded_serve(*args: Any, process_request: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
        return serve(*args, process_request=partial(_process, host, process_request), **kwargs)

    websockets.asyncio.server.serve = guarded_serve  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        websockets.asyncio.server.serve = serve  # type: ignore[misc]


def _process(
    host: str, inner: Callable[..., Response | None] | None, connection: Any, request: Request
) -> Response | None:
    reason = refusal(host, request.headers)
    if reason is not None:
        body = reason.encode()
        return Response(http.HTTPStatus.FORBIDDEN, 'Forbidden', Headers({'Content-Length': str(len(body))}), body)
    response = inner(connection, request) if inner is not None else None
    if response is not None:
        response.headers['Content-Security-Policy'] = policy(request.headers.get('Host', ''))
        response.headers['Referrer-Policy'] = 'no-referrer'
    return response
