"""The parquet tables of a LeRobot data set, as pandas and `datasets` read them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from twin_nodes.core.geometry.se3 import Array


def frames_table(columns: Mapping[str, Array], episode: int, first: int, count: int, fps: int) -> pa.Table:
    """Return the frames of one episode, one row each.

    Args:
        columns: Numbers by feature, shape (count, d).
        episode: Its number.
        first: Number of its first frame in the whole data set.
        count: How many frames.
        fps: Frames a second.
    """
    arrays = {key: _rows(values) for key, values in columns.items()}
    frame = np.arange(count)
    arrays |= {
        'timestamp': pa.array((frame / fps).astype(np.float32)),
        'frame_index': pa.array(frame),
        'episode_index': pa.array(np.full(count, episode)),
        'index': pa.array(first + frame),
        'task_index': pa.array(np.zeros(count, np.int64)),
    }
    return pa.table(arrays)


def _rows(values: Array) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def episodes_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return one row per episode: where its frames and videos lie."""
    return pa.Table.from_pylist([dict(row) for row in rows])


def tasks_table(tasks: Sequence[str]) -> pa.Table:
    """Return the tasks by number; in pandas the words are the index."""
    index, number = '__index_level_0__', 'task_index'
    about = {
        'index_columns': [index],
        'column_indexes': [
            {'name': None, 'field_name': None, 'pandas_type': 'unicode', 'numpy_type': 'object', 'metadata': None}
        ],
        'columns': [
            {'name': number, 'field_name': number, 'pandas_type': 'int64', 'numpy_type': 'int64', 'metadata': None},
            {'name': None, 'field_name': index, 'pandas_type': 'unicode', 'numpy_type': 'object', 'metadata': None},
        ],
        'pandas_version': '2.0.0',
    }
    table = pa.table({number: pa.array(range(len(tasks)), pa.int64()), index: pa.array(list(tasks))})
    return table.replace_schema_metadata({'pandas': json.dumps(about)})
