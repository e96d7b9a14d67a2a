"""An MCAP file of a bag, whole or cut."""

import heapq
import mmap
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from twin_nodes.core.errors import InputError
from twin_nodes.io.bags.mcap_records import MAGIC, Channel
from twin_nodes.io.bags.metadata import Topic, converted, full_type
from twin_nodes.io.bags.part import BagLoss, BagMessage
from twin_nodes.io.bags.qos import parse_qos
from twin_nodes.io.bags.scan import Block, Scan, messages_of, scan


class McapPart:
    """A `BagPart` of an MCAP file.

    Args:
        path: The file.
        known: What metadata.yaml says of topics.
        unguarded: Whether to take the messages of a last chunk that was cut, which no checksum guards.

    Raises:
        InputError: Neither an MCAP file nor a damaged one with whole chunks.
    """

    def __init__(self, path: Path, known: dict[str, Topic], *, unguarded: bool = False) -> None:
        self._resources: list[Any] = [path.open('rb')]
        self._view, self._found = memoryview(b''), Scan()
        if path.stat().st_size:
            self._resources.insert(0, mmap.mmap(self._resources[0].fileno(), 0, access=mmap.ACCESS_READ))
            self._view = memoryview(self._resources[0])
            self._found = scan(self._view, unguarded=unguarded)
            self._refuse_others(path)
        self._refuse_foreign(path)
        self._by_id = {
            channel_id: topic
            for channel_id, channel in self._found.channels.items()
            if (topic := _topic(channel, self._found, known))
        }
        self.topics: dict[str, Topic] = {}
        self.counts: dict[str, int] = {}
        self.definitions: dict[str, tuple[str, str]] = {}
        for channel_id, topic in self._by_id.items():
            self._gather(channel_id, topic)
        blocks = [block for block in self._found.blocks if block.count]
        self.start_ns = min((block.start_ns for block in blocks), default=None)
        self.end_ns = max((block.end_ns for block in blocks), default=None)
        found = self._found
        self.unguarded = sum(block.count for block in blocks if block.cut)
        self.loss = BagLoss(
            bytes=found.lost_bytes,
            bad_chunks=found.bad_chunks,
            nameless_messages=found.messages - sum(self.counts.values()),
            missing_messages=max(0, (found.promised or 0) - found.messages),
            open_end=not found.ended,
        )

    def _refuse_others(self, path: Path) -> None:
        head = bytes(self._view[:16])
        if head[: len(MAGIC)] == MAGIC[: len(head)] or self._found.blocks:
            return
        self.close()
        if head.startswith(b'#ROSBAG'):
            raise InputError(f"'{path.name}' is a bag of ROS 1: {converted(path)}")
        raise InputError(f"'{path.name}' does not begin like an MCAP file and no chunk was found in it")

    def _refuse_foreign(self, path: Path) -> None:
        """Refuse a file of another middleware, such as the protobuf of Foxglove or the messages of ROS 1."""
        encodings = {channel.encoding for channel in self._found.channels.values()}
        if encodings and 'cdr' not in encodings and self._found.messages:
            self.close()
            raise InputError(
                f"'{path.name}' holds messages encoded as {', '.join(sorted(encodings))}; only those of ROS 2 (cdr) "
                'are read'
            )

    def _gather(self, channel_id: int, topic: Topic) -> None:
        before = self.topics.get(topic.name)
        self.topics[topic.name] = topic if before is None else merged(before, topic)
        self.counts[topic.name] = self.counts.get(topic.name, 0) + self._found.counts.get(channel_id, 0)
        schema = self._found.schemas.get(self._found.channels[channel_id].schema_id)
        if schema is not None and schema.text:
            self.definitions.setdefault(topic.type_name, (schema.encoding, schema.text))

    def messages(self, wanted: Collection[str] | None, since_ns: int, until_ns: int) -> Iterator[BagMessage]:
        """See `BagPart`; chunks outside the span are not read."""
        blocks = sorted(
            (
                (block.start_ns, order, block)
                for order, block in enumerate(self._found.blocks)
                if block.count and block.end_ns >= since_ns and block.start_ns <= until_ns
            ),
            key=lambda entry: entry[:2],
        )
        waiting: list[tuple[int, int, int, BagMessage]] = []
        for start_ns, order, block in blocks:
            while waiting and waiting[0][0] < start_ns:
                yield heapq.heappop(waiting)[-1]
            for place, message in enumerate(self._of_block(block, wanted)):
                if since_ns <= message.log_time_ns <= until_ns:
                    heapq.heappush(waiting, (message.log_time_ns, order, place, message))
        while waiting:
            yield heapq.heappop(waiting)[-1]

    def _of_block(self, block: Block, wanted: Collection[str] | None) -> Iterator[BagMessage]:
        for message in messages_of(self._view, block):
            topic = self._by_id.get(message.channel_id)
            if topic is not None and (wanted is None or topic.name in wanted):
                yield BagMessage(
                    topic.name, topic.type_name, message.log_time_ns, message.publish_time_ns, message.data
                )

    def close(self) -> None:
        """Let go of the file."""
        self._view.release()
        for resource in self._resources:
            resource.close()


def merged(before: Topic, topic: Topic) -> Topic:
    """Return one topic of two that were recorded under one name.

    Raises:
        InputError: They have different types.
    """
    if before.type_name != topic.type_name:
        raise InputError(f'{topic.name} has two types in one bag: {before.type_name} and {topic.type_name}')
    return replace(topic, qos=tuple(dict.fromkeys(before.qos + topic.qos)))


def _topic(channel: Channel, found: Scan, known: dict[str, Topic]) -> Topic | None:
    """Put together what file and metadata.yaml know of a topic; None when its type is known to neither."""
    schema = found.schemas.get(channel.schema_id)
    told = known.get(channel.topic)
    type_name = full_type(schema.name) if schema is not None else told.type_name if told is not None else ''
    if channel.encoding != 'cdr' or not type_name:
        return None
    qos = parse_qos(channel.metadata.get('offered_qos_profiles'))
    hash_text = channel.metadata.get('topic_type_hash', '')
    return Topic(
        channel.topic,
        type_name,
        hash_text or (told.type_hash if told else ''),
        qos or (told.qos if told else ()),
    )
