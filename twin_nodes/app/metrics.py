"""Measures of motion and force from bags and recordings: `twin metrics BAG [BAG …]`."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.app.bag_poses import POSES, TREE, pose_topics, stamp_of, topic_of
from twin_nodes.app.metrics_gestures import GestureMeasures, agreement, compare_states, measure_gestures
from twin_nodes.app.metrics_joints import NEEDED, joint_topics, models_of, tips_of
from twin_nodes.app.metrics_streams import FORCES, samples_of
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import InputError
from twin_nodes.core.skill.motion import ForceMeasures, MotionMeasures, SkillConfig, measure_force, measure_motion
from twin_nodes.core.skill.score import entropy_score
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.reader import BagReader, is_bag
from twin_nodes.io.recordings.gestures import Gesture, read_gestures, transcript_beside
from twin_nodes.io.recordings.jigsaws import RATE, is_jigsaws
from twin_nodes.io.recordings.restarts import begins_anew

# what enters the score: measure, whether more is better
_SCORED = {'time': False, 'path_length': False, 'smoothness': True, 'idle_share': False}
TASK = 'guidance/task'
_TOO_FAST = 3.0  # m/s, of a tool in a hand
_LATCHED = ('calibration/', 'registration')


@dataclass(frozen=True)
class Trial:
    """The measures of one bag, by topic; what could not be measured, with the reason.

    With a transcript also those of each gesture by topic and label, and which share of it each state of guidance/task
    has.
    """

    name: str
    motions: dict[str, MotionMeasures]
    forces: dict[str, ForceMeasures]
    left_out: dict[str, str]
    gestures: dict[str, dict[str, GestureMeasures]] = field(default_factory=dict)
    states: dict[str, dict[str, float]] = field(default_factory=dict)
    paths: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_path(self, name: str, stamps_ns: np.ndarray, positions: np.ndarray, config: SkillConfig) -> None:
        """Measure one path, or say why not."""
        try:
            self.motions[name] = measure_motion(stamps_ns, positions, config)
            self.paths[name] = (stamps_ns, positions)
            steps = np.linalg.norm(np.diff(positions, axis=0), axis=1) / (np.diff(stamps_ns) / NANOSECONDS)
            if fast := int(np.sum(steps > _TOO_FAST)):
                self.notes.append(
                    f'{name}: {fast} steps faster than {_TOO_FAST:g} m/s: outliers or jumps are in path and speed'
                )
        except InputError as error:
            self.left_out[name] = str(error)


def measure_bag(
    path: Path,
    *,
    topics: tuple[str, ...] = (),
    models: tuple[str, ...] = (),
    config: SkillConfig | None = None,
    receive_times: bool = False,
    gestures: Path | None = None,
    gesture_rate_hz: float | None = None,
) -> Trial:
    """Measure all poses and wrenches of a bag and the tips of arms that tell their joints, or a recording's tools.

    Args:
        path: The bag, or a recording of another kind.
        topics: The topics, `/tf#FRAME` for a frame on tf, or the tools of a recording; all with a pose, a wrench or the
            joints of an arm when empty, and tf where nothing else has poses.
        models: ARM=MODEL, or MODEL for all arms: published ones, or URDF or xacro files.
        config: How motion is measured.
        receive_times: Whether the times of recording stand for the stamps, where these say nothing.
        gestures: A transcript; that which lies beside a trial of JIGSAWS when None.
        gesture_rate_hz: Frames a second of the transcript; 30 for JIGSAWS, seconds for others when None.

    Raises:
        InputError: when the bag has no such topic.
    """
    config = config or SkillConfig()
    if path.is_file() and not is_bag(path):
        trial = _measure_recording(path, topics, config)
        gestures = gestures or transcript_beside(path)
    else:
        trial = _measure_bag(path, topics, models, config, receive_times=receive_times)
    if gestures is not None and trial.paths:
        _add_gestures(trial, path, read_gestures(gestures, rate_hz=_rate(path, gesture_rate_hz)), config)
    return trial


def _rate(path: Path, given: float | None) -> float:
    if given is not None:
        return given
    if not path.is_file() or is_bag(path):
        return 0.0
    with path.open(encoding='utf-8', errors='replace') as stream:
        return RATE if is_jigsaws(stream.readline(1 << 16).split()) else 0.0


def _add_gestures(trial: Trial, path: Path, gestures: tuple[Gesture, ...], config: SkillConfig) -> None:
    """Measure each gesture of each path, and compare with what the recogniser of task states said."""
    start_ns = min(int(stamps[0]) for stamps, _ in trial.paths.values())
    for name, (stamps, positions) in trial.paths.items():
        trial.gestures[name] = measure_gestures(stamps, positions, start_ns, gestures, config)
    if is_bag(path):
        with BagReader(path) as reader:
            trial.states.update(compare_states(*_states(reader), start_ns, gestures))


def _states(reader: BagReader) -> tuple[list[int], list[str]]:
    """Stamps and states of all that was said on guidance/task."""
    stamps, states = [], []
    topics = {name for name in reader.topics if name.endswith(TASK)}
    for message in reader.messages(topics) if topics else ():
        record = reader.decode(message)
        stamps.append(stamp_of(record))
        states.append(record.status[0].message if record.status else '')
    return stamps, states


def _measure_bag(
    path: Path, topics: tuple[str, ...], models: tuple[str, ...], config: SkillConfig, *, receive_times: bool
) -> Trial:
    reader = BagReader(path)
    types = {name: topic.type_name for name, topic in reader.topics.items()}
    arms = joint_topics(types)
    kinds = {name: kind for name, kind in types.items() if kind in {*POSES, TREE, *FORCES} or name in arms}
    unknown = sorted(set(models_of(models)) - {'', *arms.values()})
    if unknown:
        raise InputError(
            f'{path.name}: no joints of {unknown[0]!r}{nearest(unknown[0], arms.values())}; it has those of '
            f'{", ".join(sorted(set(arms.values()))) or "no arm"}'
        )
    told = {name for name in kinds if kinds[name] in FORCES or name in arms} | pose_topics(reader).keys()
    wanted = topics or tuple(name for name in kinds if name in told and not any(part in name for part in _LATCHED))
    missing = [name for name in wanted if topic_of(name) not in kinds]
    if missing or not wanted:
        raise InputError(
            f'{path.name}: {f"no pose or wrench on {missing[0]}" if missing else "no topic with a pose or a wrench"}; '
            f'it has {", ".join(sorted(kinds)) or "none"}'
        )
    trial = Trial(str(path), {}, {}, {})
    for name in wanted:
        if name in arms:
            _measure_arm(trial, reader, name, arms[name], models_of(models), config)
    streams = tuple(name for name in wanted if name not in arms)
    found = samples_of(reader, streams, receive_times=receive_times)
    absent = [name for name in streams if '#' in name and name not in found]
    if absent:
        raise InputError(f'{path.name}: no frame {absent[0].partition("#")[2]!r} on {topic_of(absent[0])}')
    for name, samples in found.items():
        try:
            stamps_ns, values = samples.arrays()
            if kinds[topic_of(name)] in FORCES:
                trial.forces[name] = measure_force(stamps_ns, values, config)
            else:
                trial.add_path(name, stamps_ns, values, config)
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
    trial = Trial(str(path), {}, {}, {}, notes=list(recording.notes))
    for tool in tools or recording.devices:
        found, poses = recording.tracked(tool)
        if begins := begins_anew(np.array(found, dtype=np.int64)):
            trial.left_out[tool] = (
                f'the time begins anew at its sample {begins[0] + 1}: write a table of each recording'
            )
            continue
        stamps, at = np.unique(np.array(found, dtype=np.int64), return_index=True)
        trial.add_path(tool, stamps, poses[at, :3, 3], config)
    return trial


def _measure_arm(
    trial: Trial, reader: BagReader, topic: str, arm: str, models: dict[str, str], config: SkillConfig
) -> None:
    model = models.get(arm, models.get('', ''))
    if not model:
        trial.left_out[topic] = NEEDED.format(arm=arm)
        return
    try:
        trial.add_path(topic, *tips_of(reader, topic, arm, model), config)
    except InputError as error:
        trial.left_out[topic] = str(error)


def print_metrics(paths: list[Path], *, as_json: bool = False, **options: Any) -> int:
    """Print the measures of bags, and a score when there are several with the same topic; returns the exit status.

    Args:
        paths: The bags.
        as_json: Whether to print one JSON object for each.
        options: Those of `measure_bag`.
    """
    trials = [measure_bag(path, **options) for path in paths]
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
        'notes': trial.notes,
        'gestures': {
            topic: {label: asdict(measures) for label, measures in found.items()}
            for topic, found in trial.gestures.items()
        },
        'states': trial.states,
        'state_agreement': _agreement(trial),
    }


def _agreement(trial: Trial) -> float | None:
    times = {label: one.time * one.count for found in trial.gestures.values() for label, one in found.items()}
    return agreement(trial.states, times) if trial.states else None


def _print(trial: Trial, scores: dict[str, dict[str, float]]) -> None:
    print(trial.name)
    for topic, motion in trial.motions.items():
        score = f', score {scores[topic][trial.name]:.2f}' if topic in scores else ''
        print(
            f'  {topic}: {motion.time:.1f} s, path {1e3 * motion.path_length:.0f} mm, economy {motion.economy:.2f}, '
            f'speed {1e3 * motion.mean_speed:.0f} mm/s (peak {1e3 * motion.peak_speed:.0f}), log dimensionless jerk '
            f'{motion.smoothness:.1f}, at rest {100.0 * motion.idle_share:.0f} %, {motion.gaps} gaps{score}'
        )
        for label, one in trial.gestures.get(topic, {}).items():
            print(
                f'    {label}: {one.count} of {one.time:.1f} s, path {1e3 * one.path_length:.0f} mm, speed '
                f'{1e3 * one.mean_speed:.0f} mm/s, log dimensionless jerk {one.smoothness:.1f}, at rest '
                f'{100.0 * one.idle_share:.0f} %{"" if one.measured == one.count else f" ({one.measured} measured)"}'
            )
    for topic, force in trial.forces.items():
        print(
            f'  {topic}: peak {force.peak:.2f} N, mean {force.mean:.2f} N, impulse {force.impulse:.2f} N s, '
            f'{force.peaks} peaks'
        )
    for label, row in trial.states.items():
        print(f'  {TASK} in {label}: {", ".join(f"{state} {100.0 * share:.0f} %" for state, share in row.items())}')
    if (whole := _agreement(trial)) is not None:
        print(f'  {TASK} has the name of the gesture for {100.0 * whole:.0f} % of its time')
    for topic, reason in trial.left_out.items():
        print(f'  {topic}: not measured: {reason}')
    for note in trial.notes:
        print(f'  {note}')
