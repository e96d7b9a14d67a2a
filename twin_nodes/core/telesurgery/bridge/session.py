"""Authenticated, encrypted sessions between two sites that share a key file.

The handshake is of the shape of Noise NNpsk (Perrin 2018): fresh X25519 keys of both sides, sealed under the shared
key. So each session has keys of its own, a recording of an old session says nothing to a new one, and who steals the
key file later cannot read what was recorded. Data are sealed by ChaCha20-Poly1305 (RFC 8439) with a 64-bit counter as
nonce and a key per direction; the responder changes over only when the initiator has proved to know the new keys.
"""

import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.telesurgery.bridge.replay_window import ReplayWindow

KEY_BYTES = 32
MAGIC = b'TW1'
INIT, RESPONSE, DATA = 1, 2, 3
_HEAD = struct.Struct('<3sB')
_DATA = struct.Struct('<3sB8sQ')
TAG_BYTES = 16
OVERHEAD = _DATA.size + TAG_BYTES
_HANDSHAKE_BYTES = {INIT: 4 + 12 + 32 + TAG_BYTES, RESPONSE: 4 + 12 + 64 + TAG_BYTES}
MAX_PENDING = 64  # answered and not proved: more than HANDSHAKES_PER_S in the longest round trip
REMEMBERED = 256
HANDSHAKES_PER_S = 20
TRY_NS = 10_000_000_000


@dataclass
class _Session:
    """Keys and counters of one session."""

    name: bytes
    seal: Any
    unseal: Any
    window: ReplayWindow
    counter: int = 0


@dataclass
class Opened:
    """What a datagram turned out to be.

    Args:
        payload: Of an authentic, new data datagram, else None.
        reply: Datagram to send back, or None.
        refused: Why it was refused, a code, or ''.
        counter: Counter of the data datagram.
        opened: Whether a session was opened by it.
    """

    payload: bytes | None = None
    reply: bytes | None = None
    refused: str = ''
    counter: int = -1
    opened: bool = False


@dataclass
class _Try:
    """A session that was asked for."""

    private: Any
    public: bytes
    since_ns: int


class Sessions:
    """The sessions of one site.

    Args:
        key: The shared key, 32 bytes.
        initiator: Whether this site opens sessions.
        entropy: Returns random bytes, such as os.urandom.
        replay_window: Size of the window against replays.

    Raises:
        ConfigError: for a key of another length.
    """

    def __init__(
        self, key: bytes, *, initiator: bool, entropy: Callable[[int], bytes], replay_window: int = 1024
    ) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        if len(key) != KEY_BYTES:
            raise ConfigError(f'the key has {len(key)} bytes, expected {KEY_BYTES}: make one with twin link key')
        self._aead = ChaCha20Poly1305
        self._key = key
        self._initiator = initiator
        self._entropy = entropy
        self._window = replay_window
        self._hello = [
            ChaCha20Poly1305(_derive(key, b'', b'handshake' + bytes([kind]), 32)) for kind in (0, INIT, RESPONSE)
        ]
        self._current: _Session | None = None
        self._try: _Try | None = None
        self._pending: OrderedDict[bytes, _Session] = OrderedDict()
        self._answered: OrderedDict[bytes, bytes] = OrderedDict()
        self._allowance = float(HANDSHAKES_PER_S)
        self._allowed_at_ns: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a session to send in."""
        return self._current is not None

    @property
    def counter(self) -> int:
        """Datagrams sent in this session."""
        return self._current.counter if self._current is not None else 0

    def initiate(self, now_ns: int) -> bytes:
        """Return the datagram that asks for a new session; the one in use stays until the answer comes.

        Asked again within TRY_NS it offers the same fresh key, so that an answer may take longer than the retries.
        """
        if self._try is None or now_ns - self._try.since_ns > TRY_NS:
            private = _private_key(self._entropy(32))
            self._try = _Try(private, _public_bytes(private), now_ns)
        return self._handshake(INIT, self._try.public)

    def seal(self, payload: bytes) -> bytes | None:
        """Return the datagram of a payload, or None without a session."""
        session = self._current
        if session is None:
            return None
        head = _DATA.pack(MAGIC, DATA, session.name, session.counter)
        sealed: bytes = session.seal.encrypt(_nonce(session.counter), payload, head)
        session.counter += 1
        return head + sealed

    def open(self, datagram: bytes, now_ns: int) -> Opened:
        """Check a datagram from the network; never raises, whatever the bytes."""
        if len(datagram) < _HEAD.size or datagram[:3] != MAGIC:
            return Opened(refused='NOT_OURS')
        kind = datagram[3]
        if kind == DATA:
            return self._open_data(datagram)
        if kind in _HANDSHAKE_BYTES and len(datagram) == _HANDSHAKE_BYTES[kind]:
            return self._open_handshake(kind, datagram, now_ns)
        return Opened(refused='NOT_OURS')

    def _open_data(self, datagram: bytes) -> Opened:
        if len(datagram) < OVERHEAD:
            return Opened(refused='NOT_OURS')
        _, _, name, counter = _DATA.unpack_from(datagram)
        session = self._named(name)
        if session is None:
            return Opened(refused='OTHER_SESSION')
        if not session.window.fits(counter):
            return Opened(refused='REPLAYED')
        payload = self._unseal(session.unseal, _nonce(counter), datagram[_DATA.size :], datagram[: _DATA.size])
        if payload is None:
            return Opened(refused='FORGED')
        session.window.take(counter)
        opened = session is not self._current
        if not opened:
            self._try = None  # the session lives: an answer that comes now would change it under what is on its way
        if opened:  # the initiator has answered under the new keys: change over, forget the other tries
            self._current = session
            self._pending.clear()
        return Opened(payload, counter=counter, opened=opened)

    def _named(self, name: bytes) -> _Session | None:
        if self._current is not None and self._current.name == name:
            return self._current
        return self._pending.get(name)

    def _open_handshake(self, kind: int, datagram: bytes, now_ns: int) -> Opened:
        if (kind == INIT) == self._initiator:
            return Opened(refused='REFLECTED')
        content = self._unseal(self._hello[kind], datagram[4:16], datagram[16:], datagram[:4])
        if content is None:
            return Opened(refused='FORGED')
        if kind == INIT:
            return self._answer(content, now_ns)
        if self._try is None or content[32:] != self._try.public:
            return Opened(refused='REPLAYED')
        session = self._make(self._try.private, self._try.public, content[:32])
        if session is None:
            return Opened(refused='FORGED')
        self._current, self._try = session, None
        return Opened(opened=True)

    def _answer(self, theirs: bytes, now_ns: int) -> Opened:
        if theirs in self._answered:  # sent again: the same answer, at no cost
            reply = self._answered[theirs]
            return Opened(reply=reply or None, refused='' if reply else 'REPLAYED')
        if not self._allowed(now_ns):
            return Opened(refused='TOO_MANY')
        private = _private_key(self._entropy(32))
        public = _public_bytes(private)
        session = self._make(private, theirs, public)
        if session is None:
            return Opened(refused='FORGED')
        self._pending[session.name] = session
        while len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
        reply = self._handshake(RESPONSE, public + theirs)
        self._answered[theirs] = reply
        while len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)
        return Opened(reply=reply)

    def _allowed(self, now_ns: int) -> bool:
        """A bucket of handshakes: each costs a curve multiplication, which a flood of old ones must not add up."""
        if self._allowed_at_ns is not None:
            elapsed = max(now_ns - self._allowed_at_ns, 0) * 1e-9
            self._allowance = min(self._allowance + HANDSHAKES_PER_S * elapsed, float(HANDSHAKES_PER_S))
        self._allowed_at_ns = now_ns
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True

    def _make(self, private: Any, initiators: bytes, responders: bytes) -> _Session | None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        theirs = responders if self._initiator else initiators
        try:
            shared = private.exchange(X25519PublicKey.from_public_bytes(theirs))
        except ValueError:  # a point of low order
            return None
        both = _derive(self._key, shared, b'session' + initiators + responders, 72)
        to_responder, to_initiator = self._aead(both[:32]), self._aead(both[32:64])
        seal, unseal = (to_responder, to_initiator) if self._initiator else (to_initiator, to_responder)
        return _Session(both[64:], seal, unseal, ReplayWindow(self._window))

    def _handshake(self, kind: int, content: bytes) -> bytes:
        head, nonce = _HEAD.pack(MAGIC, kind), self._entropy(12)
        sealed: bytes = self._hello[kind].encrypt(nonce, content, head)
        return head + nonce + sealed

    @staticmethod
    def _unseal(cipher: Any, nonce: bytes, sealed: bytes, head: bytes) -> bytes | None:
        from cryptography.exceptions import InvalidTag

        try:
            content: bytes = cipher.decrypt(nonce, sealed, head)
        except InvalidTag:
            return None
        return content


def _nonce(counter: int) -> bytes:
    return b'\0\0\0\0' + counter.to_bytes(8, 'little')


def _derive(salt: bytes, material: bytes, purpose: bytes, size: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    found: bytes = HKDF(SHA256(), size, salt, b'twin wan 1 ' + purpose).derive(material)
    return found


def _private_key(seed: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(seed)


def _public_bytes(private: Any) -> bytes:
    found: bytes = private.public_key().public_bytes_raw()
    return found
