"""Bulk between the sites over Zenoh: meshes, clouds, states, images; sealed, low in priority, the newest of each topic.

It has its own connection (TCP or TLS) and its own process, so that it cannot stand in front of commands; what waits is
replaced by what is newer, and a token bucket holds it to a rate that the caller adapts to the link.
"""

import os
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from twin_nodes.core.errors import ConfigError

_HEAD = struct.Struct('<16sQ')
_SENT = struct.Struct('<q')
_KEY = 'twin/bulk/'
_HAVE = 'twin/have/'
LOOK_S = 0.02
HAVE_S = 1.0
LARGEST = 256 * 2**20


def _cipher(key: bytes, session: bytes, sender: str) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return ChaCha20Poly1305(HKDF(SHA256(), 32, session, b'twin bulk 1 ' + sender.encode()).derive(key))


class BulkLink:
    """One end of the bulk flow.

    Args:
        key: The shared key.
        role: leader or follower.
        endpoint: Zenoh endpoint: the follower listens there, the leader connects, such as tcp/10.0.0.2:47810.
        outgoing: Topics that may be sent.
        incoming: Topics that are taken.
        rate_bps: Most that is sent [bit/s].
        on_message: Called from a thread of Zenoh with topic and bytes.
        tls: Zenoh's settings under transport/link/tls, for tls/ endpoints.

    Raises:
        ConfigError: without the extra `wan`, or for an endpoint that cannot be used.
    """

    def __init__(
        self,
        key: bytes,
        *,
        role: str,
        endpoint: str,
        outgoing: tuple[str, ...],
        incoming: tuple[str, ...],
        rate_bps: float,
        on_message: Callable[[str, bytes], None],
        tls: dict[str, str] | None = None,
    ) -> None:
        try:
            import zenoh
        except ModuleNotFoundError:
            raise ConfigError("bulk needs Zenoh: pip install 'twin_nodes[wan]'") from None
        self._zenoh, self._key, self._role = zenoh, key, role
        self._other = 'follower' if role == 'leader' else 'leader'
        self._session_id = os.urandom(16)
        self._seal = _cipher(key, self._session_id, role)
        self._unseal: dict[bytes, Any] = {}
        self._counter = 0
        self.rate_bps = rate_bps
        self._on_message = on_message
        self._incoming = set(incoming)
        self._latest: dict[str, tuple[int, bytes]] = {}
        self._waiting: dict[str, None] = {}
        self._received: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.counts = {'sent': 0, 'received': 0, 'replaced': 0, 'refused': 0}
        self._open(endpoint, outgoing, tls or {})
        self._thread = threading.Thread(target=self._run, daemon=True, name='bulk')
        self._thread.start()

    def _open(self, endpoint: str, outgoing: tuple[str, ...], tls: dict[str, str]) -> None:
        zenoh, config = self._zenoh, self._zenoh.Config()
        config.insert_json5('mode', '"peer"')
        config.insert_json5('scouting/multicast/enabled', 'false')
        where = 'listen' if self._role == 'follower' else 'connect'
        config.insert_json5('listen/endpoints', '[]')
        config.insert_json5(f'{where}/endpoints', f'["{endpoint}"]')
        if where == 'connect':
            config.insert_json5('connect/timeout_ms', '-1')  # tries again for ever, also after a cut
            config.insert_json5('connect/exit_on_failure', 'false')
        for name, value in tls.items():
            config.insert_json5(f'transport/link/tls/{name}', f'"{value}"')
        try:
            self._session = zenoh.open(config)
        except zenoh.ZError as error:
            raise ConfigError(f'bulk endpoint {endpoint!r} cannot be used: {error}') from None
        low = {'priority': zenoh.Priority.BACKGROUND, 'congestion_control': zenoh.CongestionControl.DROP}
        self._publishers = {
            topic: self._session.declare_publisher(f'{_KEY}{self._role}/{topic}', **low) for topic in outgoing
        }
        self._have = self._session.declare_publisher(f'{_HAVE}{self._role}', **low)
        self._subscribers = [
            self._session.declare_subscriber(f'{_KEY}{self._other}/**', self._on_bulk),
            self._session.declare_subscriber(f'{_HAVE}{self._other}', self._on_have),
        ]

    def offer(self, topic: str, content: bytes) -> None:
        """Take the newest content of a topic; it replaces what still waits."""
        with self._lock:
            self.counts['replaced'] += topic in self._waiting
            self._latest[topic] = (time.time_ns(), content)
            self._waiting[topic] = None

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self._thread.join(timeout=2.0)
        self._session.close()

    def _run(self) -> None:
        debt, last, told = 0.0, time.monotonic(), 0.0
        while not self._stopped.wait(LOOK_S):
            now = time.monotonic()
            debt, last = max(debt - (now - last) * self.rate_bps, 0.0), now
            if now - told > HAVE_S:
                told = now
                self._say_have()
            if debt > 0.0:
                continue
            with self._lock:
                topic = next(iter(self._waiting), None)
                if topic is None:
                    continue
                del self._waiting[topic]
                sent_ns, content = self._latest[topic]
            sealed = self._sealed(topic, _SENT.pack(sent_ns) + content)
            self._publishers[topic].put(sealed)
            self.counts['sent'] += 1
            debt += 8.0 * len(sealed)

    def _sealed(self, topic: str, content: bytes) -> bytes:
        head = _HEAD.pack(self._session_id, self._counter)
        nonce = self._counter.to_bytes(12, 'little')
        self._counter += 1
        sealed: bytes = self._seal.encrypt(nonce, content, head + topic.encode())
        return head + sealed

    def _opened(self, topic: str, payload: bytes) -> bytes | None:
        from cryptography.exceptions import InvalidTag

        if not _HEAD.size + 16 <= len(payload) <= LARGEST:
            return None
        session, counter = _HEAD.unpack_from(payload)
        cipher = self._unseal.get(session) or _cipher(self._key, session, self._other)
        try:
            content: bytes = cipher.decrypt(
                counter.to_bytes(12, 'little'), payload[_HEAD.size :], payload[: _HEAD.size] + topic.encode()
            )
        except InvalidTag:
            return None
        self._unseal = {session: cipher}
        return content

    def _on_bulk(self, sample: Any) -> None:
        topic = str(sample.key_expr).removeprefix(f'{_KEY}{self._other}/')
        content = self._opened(topic, sample.payload.to_bytes()) if topic in self._incoming else None
        if content is None or len(content) < _SENT.size:
            self.counts['refused'] += 1
            return
        (sent_ns,) = _SENT.unpack_from(content)
        if sent_ns <= self._received.get(topic, 0):
            self.counts['refused'] += 1  # again, or older than what is shown
            return
        self._received[topic] = sent_ns
        self.counts['received'] += 1
        self._on_message(topic, content[_SENT.size :])

    def _say_have(self) -> None:
        """Tell the other end what we have, so that after a cut it sends what is newer."""
        text = '\n'.join(f'{topic}\t{sent_ns}' for topic, sent_ns in dict(self._received).items())
        self._have.put(self._sealed('have', text.encode()))

    def _on_have(self, sample: Any) -> None:
        content = self._opened('have', sample.payload.to_bytes())
        if content is None:
            self.counts['refused'] += 1
            return
        has = dict(line.rsplit('\t', 1) for line in content.decode().splitlines())
        with self._lock:
            for topic, (sent_ns, _) in self._latest.items():
                if sent_ns > int(has.get(topic, '0')):
                    self._waiting.setdefault(topic)
