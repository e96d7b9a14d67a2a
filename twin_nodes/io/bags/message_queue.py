"""The bounded queue between those who hand over messages and the thread that writes them."""

import threading
from collections import deque
from collections.abc import Iterator

from twin_nodes.io.bags.mcap_records import MessageRecord


class MessageQueue:
    """Holds messages up to a size; what does not fit is refused at once, nobody waits.

    Args:
        largest_bytes: What may be held [bytes]; one message is always taken.
        chunk_bytes: Size from which a chunk is due [bytes].
    """

    def __init__(self, *, largest_bytes: int, chunk_bytes: int) -> None:
        self._largest_bytes, self._chunk_bytes = largest_bytes, chunk_bytes
        self._messages: deque[MessageRecord] = deque()
        self._bytes = 0
        self._sequence = 0
        self._closed = False
        self._account = threading.Condition(threading.Lock())
        self._due = threading.Event()

    def put(self, channel_id: int, log_time_ns: int, publish_time_ns: int, data: bytes) -> bool:
        """Take a message; return False when it is refused."""
        with self._account:
            if self._closed or (self._messages and self._bytes + len(data) > self._largest_bytes):
                return False
            self._sequence = (self._sequence + 1) & 0xFFFFFFFF
            self._messages.append(MessageRecord(channel_id, self._sequence, log_time_ns, publish_time_ns, data))
            self._bytes += len(data)
            if self._bytes >= self._chunk_bytes:
                self._due.set()
        return True

    def close(self) -> None:
        """Refuse everything from now on and wake who waits."""
        with self._account:
            self._closed = True
        self._due.set()

    def wait_until_due(self, timeout_s: float) -> None:
        """Wait until a chunk is due or the time is over."""
        self._due.wait(timeout_s)
        self._due.clear()

    def wait_for_room(self, retry_s: float) -> bool:
        """Wait until the queue is half empty, for a limited time; return whether it is."""
        with self._account:
            if self._bytes > self._largest_bytes // 2:
                self._due.set()
                self._account.wait(retry_s)
            return self._bytes <= self._largest_bytes // 2

    def chunks(self) -> Iterator[list[MessageRecord]]:
        """Take out what is held now, in chunks."""
        chunk: list[MessageRecord] = []
        size = 0
        for _ in range(len(self._messages)):
            message = self._messages.popleft()
            chunk.append(message)
            size += len(message.data)
            if size >= self._chunk_bytes:
                self._release(size)
                yield chunk
                chunk, size = [], 0
        if chunk:
            self._release(size)
            yield chunk

    def _release(self, size: int) -> None:
        with self._account:
            self._bytes -= size
            self._account.notify_all()
