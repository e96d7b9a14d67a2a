"""A sqlite3 file (.db3) of a bag, as rosbag2 wrote them by default until Iron; whole or cut.

Tables: `topics` (id, name, type, serialization_format, offered_qos_profiles, type_description_hash; older files have
fewer columns), `messages` (id, topic_id, timestamp, data) and, since Iron, `message_definitions`.
"""

import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twin_nodes.core.errors import InputError
from twin_nodes.io.bags.metadata import Topic, full_type
from twin_nodes.io.bags.part import BagLoss, BagMessage
from twin_nodes.io.bags.qos import parse_qos

MAGIC = b'SQLite format 3\0'
LARGEST_MESSAGE = 1 << 30
_TABLES = ('topics', 'messages')


class SqlitePart:
    """A `BagPart` of a sqlite3 file. It is opened for reading alone, and a damaged one is read from both ends.

    Args:
        path: The file.
        known: What metadata.yaml says of topics: used where the file does not say it.

    Raises:
        InputError: No database, or not one of rosbag2.
    """

    def __init__(self, path: Path, known: dict[str, Topic]) -> None:
        self._name = path.name
        self._resources: list[Any] = []
        self._database = _opened(path, self._resources)
        self._rows: list[tuple[int, int]] | None = None  # of a damaged file: time and id of each message
        try:
            self._topics = self._read_topics(known)
            self.definitions = self._read_definitions()
        except sqlite3.Error as error:
            self.close()
            raise InputError(
                f"'{path.name}' is a sqlite3 file, but its topics cannot be read ({error}): a bag that was copied in "
                'part, or none of ROS 2'
            ) from None
        self.topics = {topic.name: topic for topic in self._topics.values()}
        try:
            found = self._counted()
            self.loss = BagLoss(nameless_messages=sum(n for at, n, _, _ in found if at not in self._topics))
        except sqlite3.Error:
            found = self._salvaged()
        self.counts = dict.fromkeys(self.topics, 0)
        for at, count, _, _ in found:
            if at in self._topics:
                self.counts[self._topics[at].name] += count
        self.start_ns = min((first for at, _, first, _ in found if at in self._topics), default=None)
        self.end_ns = max((last for at, _, _, last in found if at in self._topics), default=None)

    def messages(self, wanted: Collection[str] | None, since_ns: int, until_ns: int) -> Iterator[BagMessage]:
        """See `BagPart`.

        Raises:
            InputError: The file has changed since it was opened.
        """
        ids = [at for at, topic in self._topics.items() if wanted is None or topic.name in wanted]
        try:
            for at, stamp_ns, data in self._selected(ids, since_ns, until_ns):
                topic = self._topics[at]
                yield BagMessage(topic.name, topic.type_name, stamp_ns, stamp_ns, data)
        except sqlite3.Error as error:
            raise InputError(f"'{self._name}' cannot be read on: {error}") from None

    def close(self) -> None:
        """Let go of the file."""
        for resource in reversed(self._resources):
            resource.close()

    def _selected(self, ids: list[int], since_ns: int, until_ns: int) -> Iterator[tuple[int, int, bytes]]:
        if self._rows is None:
            rows = self._database.execute(
                f'SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({",".join("?" * len(ids))}) '  # noqa: S608 - question marks alone
                'AND timestamp BETWEEN ? AND ? ORDER BY timestamp, id',
                (*ids, since_ns, until_ns),
            )
            for row in rows:  # not `yield from`: that would close the cursor of a bag that is closed already
                yield row
            return
        for stamp_ns, row in self._rows:
            if since_ns <= stamp_ns <= until_ns:
                at, data = self._database.execute('SELECT topic_id, data FROM messages WHERE id = ?', (row,)).fetchone()
                if at in ids:
                    yield at, stamp_ns, data

    def _read_topics(self, known: dict[str, Topic]) -> dict[int, Topic]:
        tables = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not set(_TABLES) <= tables:
            raise sqlite3.DatabaseError(f'it has {", ".join(sorted(tables)) or "no tables"}')
        cursor = self._database.execute('SELECT * FROM topics')
        columns = [entry[0] for entry in cursor.description]
        found = {}
        for values in cursor:
            row = dict(zip(columns, values, strict=True))
            if row.get('serialization_format', 'cdr') != 'cdr':
                continue
            told = known.get(row['name'])
            hash_text = row.get('type_description_hash') or (told.type_hash if told else '')
            qos = parse_qos(row.get('offered_qos_profiles')) or (told.qos if told else ())
            found[row['id']] = Topic(row['name'], full_type(row['type']), hash_text, qos)
        return found

    def _read_definitions(self) -> dict[str, tuple[str, str]]:
        try:
            rows = self._database.execute(
                'SELECT topic_type, encoding, encoded_message_definition FROM message_definitions'
            )
            return {full_type(kind): (encoding, text) for kind, encoding, text in rows if text}
        except sqlite3.OperationalError:  # bags of Humble and before have no such table
            return {}

    def _counted(self) -> list[tuple[int, int, int, int]]:
        """Topic, number of messages, first and last time; raises where a page of the file is damaged."""
        if self._database.execute('PRAGMA quick_check(1)').fetchone() != ('ok',):
            raise sqlite3.DatabaseError('damaged')
        return self._database.execute(
            'SELECT topic_id, COUNT(*), MIN(timestamp), MAX(timestamp) FROM messages GROUP BY topic_id'
        ).fetchall()

    def _salvaged(self) -> list[tuple[int, int, int, int]]:
        """Read a damaged file from its first message on and from its last one back, each as far as it goes."""
        rows: dict[int, tuple[int, int]] = {}
        for order in ('ASC', 'DESC'):
            try:
                for row, at, stamp_ns, data in self._database.execute(
                    f'SELECT id, topic_id, timestamp, data FROM messages ORDER BY id {order}'  # noqa: S608
                ):
                    if row in rows:
                        break
                    if isinstance(data, bytes) and isinstance(stamp_ns, int):
                        rows[row] = (stamp_ns, at)
            except sqlite3.Error:
                continue
        self._rows = sorted((stamp_ns, row) for row, (stamp_ns, at) in rows.items() if at in self._topics)
        promised = max(rows, default=0) - min(rows, default=1) + 1
        nameless = len(rows) - len(self._rows)
        self.loss = BagLoss(nameless_messages=nameless, missing_messages=promised - len(rows), open_end=True)
        return [(at, 1, stamp_ns, stamp_ns) for stamp_ns, at in rows.values()]


def _opened(path: Path, resources: list[Any]) -> sqlite3.Connection:
    """Open a database for reading; one in a folder that cannot be written, or cut short, is taken as it lies there.

    Args:
        path: The file.
        resources: Takes what must stay open with it.
    """
    reason = ''
    for options, cut in (('', False), ('&immutable=1', False), ('&immutable=1', True)):
        file = _whole_pages(path, resources) if cut else path
        place = f'file:{quote(str(file.resolve()))}?mode=ro{options}'
        database = sqlite3.connect(place, uri=True, check_same_thread=False)
        try:
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_MESSAGE)
            database.execute('PRAGMA trusted_schema = OFF')
            if cut:  # sqlite then reads a file that is shorter than its header says
                database.execute('PRAGMA writable_schema = ON')
            database.execute('SELECT COUNT(*) FROM sqlite_master').fetchone()
        except sqlite3.DatabaseError as error:
            database.close()
            reason = str(error)
            continue
        resources.append(database)
        return database
    raise InputError(f"'{path.name}' is stored as sqlite3, but cannot be read: {reason}")


def _whole_pages(path: Path, resources: list[Any]) -> Path:
    """Return a copy without a page that was cut in two: sqlite would take zeros for the rest of it."""
    with path.open('rb') as stream:
        page = int.from_bytes(stream.read(100)[16:18], 'big')
        page = 65536 if page == 1 else page
        rest = path.stat().st_size // page * page if page else 0
        if not rest or rest == path.stat().st_size:
            return path
        resources.append(tempfile.NamedTemporaryFile(prefix='twin_bag_'))  # noqa: SIM115 - closed with the part
        stream.seek(0)
        while rest and (block := stream.read(min(rest, 1 << 22))):
            resources[-1].write(block)
            rest -= len(block)
    resources[-1].flush()
    return Path(resources[-1].name)
