"""Measures of motion and force from bags and recordings: `twin metrics BAG [BAG …]`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.app.metrics_joints import NEEDED, joint_topics, models_of, tips_of
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import InputError
from twin_nodes.core.skill.motion import ForceMeasures, MotionMeasures, SkillConfig, measure_force, measure_motion
from twin_nodes.core.skill.score import entropy_score
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.reader import BagReader, is_bag

_POSES = {
    'geometry_msgs/msg/PoseStamped': lambda message: message.pose.position,
    'geometry_msgs/msg/PoseWithCovarianceStamped': lambda message: message.pose.pose.position,
    'geometry_msgs/msg/TransformStamped': lambda message: message.transform.translation,
}
_FORCES = {'geometry_msgs/msg/WrenchStamped': lambda message: message.wrench.force}
# what enters the score: measure, whether more is better
_SCORED = {'time': False, 'path_length': False, 'smoothness': True, 'idle_share': False}
_LATCHED = ('calibration/', 'registration')


@dataclass(frozen=True)
class Trial:
    """The measures of one bag, by topic; what could not be measured, with the reason."""

    name: str
    motions: dict[str, MotionMeasures]
    forces: dict[str, ForceMeasures]
    left_out: dict[str, str]


def measure_bag(
    path: Path, *, topics: tuple[str, ...] = (), models: tuple[str, ...] = (), config: SkillConfig | None = None
) -> Trial:
    """Measure all poses and wrenches of a bag and the tips of arms that tell their joints, or a recording's tools.

    Args:
        path: The bag, or a recording of another kind.
        topics: The topics, or the tools of a recording; all with a pose, a wrench or the joints of an arm when empty.
        models: ARM=MODEL, or MODEL for all arms: published ones, or URDF or xacro files.
        config: How motion is measured.

    Raises:
        InputError: when the bag has no such topic.
    """
    config = config or SkillConfig()
    if path.is_file() and not is_bag(path):
        return _measure_recording(path, topics, config)
    reader = BagReader(path)
    types = {name: topic.type_name for name, topic in reader.topics.items()}
    arms = joint_topics(types)
    kinds = {name: kind for name, kind in types.items() if kind in {**_POSES, **_FORCES} or name in arms}
    unknown = sorted(set(models_of(models)) - {'', *arms.values()})
    if unknown:
        raise InputError(
            f'{path.name}: no joints of {unknown[0]!r}{nearest(unknown[0], arms.values())}; it has those of '
            f'{", ".join(sorted(set(arms.values()))) or "no arm"}'
        )
    wanted = topics or tuple(name for name in kinds if not any(part in name for part in _LATCHED))
    missing = [name for name in wanted if name not in kinds]
    if missing or not wanted:
        raise InputError(
            f'{path.name}: {f"no pose or wrench on {missing[0]}" if missing else "no topic with a pose or a wrench"}; '
            f'it has {", ".join(sorted(kinds)) or "none"}'
        )
    trial = Trial(str(path), {}, {}, {})
    for name in wanted:
        if name in arms:
            _measure_arm(trial, reader, name, arms[name], models_of(models), config)
    for name, (stamps_ns, values) in _samples(reader, tuple(name for name in wanted if name not in arms)).items():
        try:
            if kinds[name] in _FORCES:
                trial.forces[name] = measure_force(stamps_ns, values, config)
            else:
                trial.motions[name] = measure_motion(stamps_ns, values, config)
        except InputError as error:
            trial.left_out[name] = str(error)
    return trial


def _measure_recording(path: Path, tools: tuple[str, ...], config: SkillConfig) -> Trial:
    """Measure each tool of a recording that is no bag, such as a table of poses, or some by name."""
    from twin_nodes.io.recordings import open_recording

    recording = open_recording(path)
    unknown = sorted(set(tools) - set(recording.devices))
    if unknown:
        raise InputError(
            f'{path.name}: no tool {unknown[0]!r}{nearest(unknown[0], recording.devices)}; it has '
            f'{", ".join(recording.devices)}'
        )
    trial = Trial(str(path), {}, {}, {})
    for tool in tools or recording.devices:
        found, poses = recording.tracked(tool)
        stamps, at = np.unique(np.array(found, dtype=np.int64), return_index=True)
        try:
            trial.motions[tool] = measure_motion(stamps, poses[at, :3, 3], config)
        except InputError as error:
            trial.left_out[tool] = str(error)
    return trial


def _measure_arm(
    trial: Trial, reader: BagReader, topic: str, arm: str, models: dict[str, str], config: SkillConfig
) -> None:
    model = models.get(arm, models.get('', ''))
    if not model:
        trial.left_out[topic] = NEEDED.format(arm=arm)
        return
    try:
        trial.motions[topic] = measure_motion(*tips_of(reader, topic, arm, model), config)
    except InputError as error:
        trial.left_out[topic] = str(error)


def _samples(reader: BagReader, topics: tuple[str, ...]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Stamps and vectors of each topic, in the order of stamps, each stamp once; what is not finite left out."""
    rows: dict[str, list[tuple[int, float, float, float]]] = {topic: [] for topic in topics}
    for message in reader.messages(topics=topics):
        record = reader.decode(message)
        vector = {**_POSES, **_FORCES}[message.type_name](record)
        stamp_ns = record.header.stamp.sec * NANOSECONDS + record.header.stamp.nanosec
        rows[message.topic].append((stamp_ns, vector.x, vector.y, vector.z))
    samples = {}
    for topic, found in rows.items():
        stamps = np.array([row[0] for row in found], dtype=np.int64)
        values = np.array([row[1:] for row in found], dtype=float).reshape(-1, 3)
        good = np.isfinite(values).all(axis=1) & (stamps != 0)
        stamps, at = np.unique(stamps[good], return_index=True)
        samples[topic] = (stamps, values[good][at])
    return samples


def print_metrics(
    paths: list[Path], *, topics: tuple[str, ...] = (), models: tuple[str, ...] = (), as_json: bool = False
) -> int:
    """Print the measures of bags, and a score when there are several with the same topic; returns the exit status."""
    trials = [measure_bag(path, topics=topics, models=models) for path in paths]
    scores = score_trials(trials)
    for trial in trials:
        if as_json:
            print(json.dumps(_plain(trial, scores)))
        else:
            _print(trial, scores)
    return 0 if any(trial.motions or trial.forces for trial in trials) else 1


def score_trials(trials: list[Trial]) -> dict[str, dict[str, float]]:
    """Score each topic that is in all trials, by topic and name of the trial; empty for one trial."""
    if len(trials) < 2:
        return {}
    shared = set.intersection(*(set(trial.motions) for trial in trials))
    scores = {}
    for topic in sorted(shared):
        rows = np.array([[getattr(trial.motions[topic], name) for name in _SCORED] for trial in trials])
        result = entropy_score(rows, more_is_better=np.array(list(_SCORED.values())))
        scores[topic] = {trial.name: float(value) for trial, value in zip(trials, result.scores, strict=True)}
    return scores


def _plain(trial: Trial, scores: dict[str, dict[str, float]]) -> dict[str, Any]:
    return {
        'bag': trial.name,
        'motion': {topic: asdict(measures) for topic, measures in trial.motions.items()},
        'force': {topic: asdict(measures) for topic, measures in trial.forces.items()},
        'score': {topic: values[trial.name] for topic, values in scores.items()},
        'left_out': trial.left_out,
    }


def _print(trial: Trial, scores: dict[str, dict[str, float]]) -> None:
    print(trial.name)
    for topic, motion in trial.motions.items():
        score = f', score {scores[topic][trial.name]:.2f}' if topic in scores else ''
        print(
            f'  {topic}: {motion.time:.1f} s, path {1e3 * motion.path_length:.0f} mm, economy {motion.economy:.2f}, '
            f'speed {1e3 * motion.mean_speed:.0f} mm/s (peak {1e3 * motion.peak_speed:.0f}), log dimensionless jerk '
            f'{motion.smoothness:.1f}, at rest {100.0 * motion.idle_share:.0f} %, {motion.gaps} gaps{score}'
        )
    for topic, force in trial.forces.items():
        print(
            f'  {topic}: peak {force.peak:.2f} N, mean {force.mean:.2f} N, impulse {force.impulse:.2f} N s, '
            f'{force.peaks} peaks'
        )
    for topic, reason in trial.left_out.items():
        print(f'  {topic}: not measured: {reason}')
