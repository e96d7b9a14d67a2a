"""`twin export BAG … --to lerobot`: bags as a data set for learning, in the layout of LeRobot 3.0.

    meta/info.json, meta/stats.json, meta/tasks.parquet, meta/episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet …                      one file per episode
    videos/<key>/chunk-000/file-000.mp4 …                  one file per episode and camera

`observation.state` is what was measured, `action` what was commanded, each number named. Frames are evenly spaced;
where a stream has a hole, an episode ends and the next begins, because nothing is held or made up.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.app.export_streams import IMAGES, Stream, chosen, gather
from twin_nodes.app.export_video import Camera, write_videos
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.reader import BagReader

CODEBASE_VERSION = 'v3.0'
CHUNK = 1000
STATE, ACTION = 'observation.state', 'action'
QUANTILES = {'q01': 0.01, 'q10': 0.10, 'q50': 0.50, 'q90': 0.90, 'q99': 0.99}
INDICES = ('frame_index', 'episode_index', 'index', 'task_index')


@dataclass(frozen=True)
class LerobotConfig:
    """What the data set shall be.

    Args:
        fps: Frames a second, a whole number.
        task: What is done, in words.
        robot_type: Name of the robot, '' for none.
        max_gap: Longest hole in a stream that is bridged [s].
        shortest: Episodes below this are left out [s].
    """

    fps: int = 30
    task: str = 'unnamed task'
    robot_type: str = ''
    max_gap: float = 0.1
    shortest: float = 1.0

    def __post_init__(self) -> None:
        """Check the bounds."""
        if not 1 <= self.fps <= 1000:
            raise ConfigError(f'fps={self.fps} must be 1 to 1000')
        if not self.task.strip():
            raise ConfigError('task is empty: say in words what is done; learning needs it')


@dataclass(frozen=True, eq=False)
class Episode:
    """Evenly spaced frames without a hole.

    Args:
        bag: Where it comes from.
        instants_ns: ROS time of each frame, shape (m,).
        columns: By feature, shape (m, d).
    """

    bag: Path
    instants_ns: Array
    columns: dict[str, Array]


def export_lerobot(bags: Sequence[Path], output: Path, config: LerobotConfig, *, topics: Sequence[str] = ()) -> int:
    """Write bags as one data set and say what is in it.

    Raises:
        ConfigError: when pyarrow is not installed, or the folder holds something already.
        InputError: for bags without common numbers or without a whole second in which all streams are there.
    """
    _require_pyarrow()
    if output.exists() and any(output.iterdir()):
        raise ConfigError(f'{output} is not empty; name a new folder with --output')
    episodes: list[Episode] = []
    names: dict[str, tuple[str, ...]] = {}
    cameras: list[Camera] = []
    for bag in bags:
        found, of_bag, seen = _read(bag, config, topics)
        if names and (of_bag != names or [one.key for one in seen] != [one.key for one in cameras]):
            raise InputError(f'{bag}: holds other numbers or cameras than {bags[0]}; name what they share with --topic')
        names, cameras = of_bag, cameras or seen
        episodes += found
    features = {key: _numbers(of) for key, of in names.items()}
    shapes = write_videos([(one.bag, one.instants_ns) for one in episodes], cameras, output, config.fps)
    features |= {camera.key: _video(shapes[camera.key].shape, config.fps) for camera in cameras}
    _write(episodes, features, {key: shape.stats for key, shape in shapes.items()}, output, config)
    frames = sum(len(one.instants_ns) for one in episodes)
    print(f'{len(episodes)} episodes, {frames} frames at {config.fps} Hz in {output}')
    for key, of in names.items():
        print(f'  {key}: {len(of)} numbers, {", ".join(dict.fromkeys(name.rpartition(".")[0] for name in of))}')
    for camera in cameras:
        print(f'  {camera.key}: {camera.topic}')
    if ACTION not in names:
        print('  no action: the bags hold no commands (setpoint_…, servo_…); name them with --topic')
    return 0


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigError("LeRobot's files need pyarrow: pip install 'twin_nodes[lerobot]'") from None


def _read(
    bag: Path, config: LerobotConfig, topics: Sequence[str]
) -> tuple[list[Episode], dict[str, tuple[str, ...]], list[Camera]]:
    with BagReader(bag) as reader:
        wanted = chosen(reader, topics)
        streams = gather(reader, wanted)
        kinds = {name: reader.topics[name].type_name for name in wanted}
    cameras = [Camera(name) for name in wanted if kinds[name] in IMAGES]
    groups = {STATE: [one for one in streams if not one.is_command], ACTION: [one for one in streams if one.is_command]}
    names = {key: tuple(name for one in of for name in one.names) for key, of in groups.items() if of}
    instants = _instants(streams, config.fps)
    columns, valid = {}, np.ones(len(instants), bool)
    for key, of in groups.items():
        sampled = [one.at(instants, max_gap=config.max_gap) for one in of]
        if sampled:
            columns[key] = np.hstack([values for values, _ in sampled])
            valid &= np.logical_and.reduce([mask for _, mask in sampled])
    for camera in cameras:
        valid &= camera.covers(bag, instants, config.max_gap)
    shortest = max(2, round(config.shortest * config.fps))
    runs = [run for run in _runs(valid) if run.stop - run.start >= shortest]
    if not runs:
        raise InputError(
            f'{bag}: no {config.shortest:g} s in which all of {", ".join(wanted)} are there; {_why(streams)}'
        )
    return [Episode(bag, instants[run], {key: of[run] for key, of in columns.items()}) for run in runs], names, cameras


def _why(streams: Sequence[Stream]) -> str:
    spans = [f'{one.topic} {(one.stamps_ns[-1] - one.stamps_ns[0]) / NANOSECONDS:.1f} s' for one in streams]
    return f'there is {", ".join(spans)}: leave one out with --topic, or allow longer holes with --max-gap'


def _instants(streams: Sequence[Stream], fps: int) -> Array:
    """Evenly spaced times [ns] from where all that is measured has begun to where the first ends."""
    measured = [one for one in streams if not one.is_command]
    start = max(one.stamps_ns[0] for one in measured)
    end = min(one.stamps_ns[-1] for one in measured)
    count = max(0, (end - start) * fps // NANOSECONDS + 1)
    return start + (np.arange(count, dtype=np.int64) * NANOSECONDS) // fps


def _runs(valid: Array) -> list[slice]:
    """Return where a mask is True without a break."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], valid.astype(np.int8), [0]])))
    return [slice(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def _numbers(names: Sequence[str]) -> dict[str, Any]:
    return {'dtype': 'float32', 'shape': [len(names)], 'names': list(names)}


def _video(shape: tuple[int, int], fps: int) -> dict[str, Any]:
    height, width = shape
    info = {
        'video.height': height, 'video.width': width, 'video.codec': 'mpeg4', 'video.pix_fmt': 'yuv420p',
        'video.is_depth_map': False, 'video.fps': fps, 'video.channels': 3, 'has_audio': False,
    }  # fmt: skip
    return {'dtype': 'video', 'shape': [height, width, 3], 'names': ['height', 'width', 'channels'], 'info': info}


def _write(
    episodes: Sequence[Episode], features: dict[str, Any], videos: dict[str, Any], output: Path, config: LerobotConfig
) -> None:
    from pyarrow import parquet

    from twin_nodes.app.export_tables import episodes_table, frames_table, tasks_table

    rows, first = [], 0
    tables = []
    for number, episode in enumerate(episodes):
        count = len(episode.instants_ns)
        table = frames_table(episode.columns, number, first, count, config.fps)
        path = output / f'data/chunk-{number // CHUNK:03d}/file-{number % CHUNK:03d}.parquet'
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, path)
        cameras = [key for key, feature in features.items() if feature['dtype'] == 'video']
        rows.append(_episode_row(number, first, count, cameras, config))
        tables.append(episode.columns)
        first += count
    meta = output / 'meta'
    (meta / 'episodes' / 'chunk-000').mkdir(parents=True, exist_ok=True)
    parquet.write_table(episodes_table(rows), meta / 'episodes' / 'chunk-000' / 'file-000.parquet')
    parquet.write_table(tasks_table([config.task]), meta / 'tasks.parquet')
    stats = {key: _stats(np.vstack([of[key] for of in tables])) for key in tables[0]} | videos
    (meta / 'stats.json').write_text(json.dumps(stats, indent=4) + '\n', encoding='utf-8')
    info = _info(features, len(episodes), first, config)
    (meta / 'info.json').write_text(json.dumps(info, indent=4) + '\n', encoding='utf-8')


def _episode_row(number: int, first: int, count: int, cameras: Sequence[str], config: LerobotConfig) -> dict[str, Any]:
    chunk, file = divmod(number, CHUNK)
    row = {
        'episode_index': number, 'tasks': [config.task], 'length': count,
        'data/chunk_index': chunk, 'data/file_index': file,
        'dataset_from_index': first, 'dataset_to_index': first + count,
        'meta/episodes/chunk_index': 0, 'meta/episodes/file_index': 0,
    }  # fmt: skip
    for key in cameras:
        row |= {
            f'videos/{key}/chunk_index': chunk, f'videos/{key}/file_index': file,
            f'videos/{key}/from_timestamp': 0.0, f'videos/{key}/to_timestamp': count / config.fps,
        }  # fmt: skip
    return row


def _stats(values: Array) -> dict[str, list[float]]:
    found = {'min': values.min(0), 'max': values.max(0), 'mean': values.mean(0), 'std': values.std(0)}
    found |= {name: np.quantile(values, share, axis=0) for name, share in QUANTILES.items()}
    return {name: of.tolist() for name, of in found.items()} | {'count': [len(values)]}


def _info(features: dict[str, Any], episodes: int, frames: int, config: LerobotConfig) -> dict[str, Any]:
    common = {key: {'dtype': 'int64', 'shape': [1], 'names': None} for key in INDICES}
    return {
        'codebase_version': CODEBASE_VERSION,
        'robot_type': config.robot_type or None,
        'total_episodes': episodes,
        'total_frames': frames,
        'total_tasks': 1,
        'chunks_size': CHUNK,
        'data_files_size_in_mb': 100,
        'video_files_size_in_mb': 200,
        'fps': config.fps,
        'splits': {'train': f'0:{episodes}'},
        'data_path': 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet',
        'video_path': 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4',
        'features': features | {'timestamp': {'dtype': 'float32', 'shape': [1], 'names': None}} | common,
    }
