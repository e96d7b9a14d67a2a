"""Measures of each gesture of a trial, and what the recogniser of task states said meanwhile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.skill.motion import SkillConfig, measure_motion
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.recordings.gestures import Gesture


@dataclass(frozen=True)
class GestureMeasures:
    """What one tool did in all gestures of one label.

    Args:
        count: How often it occurs.
        measured: How many of these are long enough and tracked.
        time: Mean time of one [s].
        path_length: Mean path of one measured [m]; 0 where none is.
        mean_speed: Of the measured ones [m/s].
        smoothness: Mean log dimensionless jerk of the measured ones; nearer to zero is smoother.
        idle_share: Mean share at rest of the measured ones.
    """

    count: int
    measured: int
    time: float
    path_length: float
    mean_speed: float
    smoothness: float
    idle_share: float


def measure_gestures(
    stamps_ns: Array, positions: Array, start_ns: int, gestures: Sequence[Gesture], config: SkillConfig
) -> dict[str, GestureMeasures]:
    """Measure a path gesture by gesture; by label, in the order of the first of each.

    Args:
        stamps_ns: Ascending stamps, shape (n,).
        positions: [m], shape (n, 3).
        start_ns: Start of the recording, which the gestures count from.
        gestures: The gestures.
        config: How motion is measured.

    Raises:
        InputError: The gestures do not lie in the recording.
    """
    last = (int(stamps_ns[-1]) - start_ns) / NANOSECONDS if len(stamps_ns) else 0.0
    if not gestures or gestures[0].start > last or gestures[-1].end > last + 1.0:
        raise InputError(
            f'the transcript runs from {gestures[0].start:.1f} to {gestures[-1].end:.1f} s, the recording to '
            f'{last:.1f} s: another trial, or --gesture-rate is missing or wrong'
        )
    seconds = (np.asarray(stamps_ns) - start_ns) / NANOSECONDS
    found: dict[str, GestureMeasures] = {}
    for label in dict.fromkeys(gesture.label for gesture in gestures):
        mine = [gesture for gesture in gestures if gesture.label == label]
        motions = []
        for gesture in mine:
            inside = (seconds >= gesture.start - 1e-6) & (seconds <= gesture.end + 1e-6)
            try:
                motions.append(measure_motion(np.asarray(stamps_ns)[inside], positions[inside], config))
            except InputError:
                continue  # too short, or not tracked
        mean = {name: _mean(motions, name) for name in ('path_length', 'mean_speed', 'smoothness', 'idle_share')}
        time = float(np.mean([gesture.end - gesture.start for gesture in mine]))
        found[label] = GestureMeasures(len(mine), len(motions), time, **mean)
    return found


def _mean(motions: Sequence[Any], name: str) -> float:
    return float(np.mean([getattr(motion, name) for motion in motions])) if motions else 0.0


def compare_states(
    stamps_ns: Sequence[int], states: Sequence[str], start_ns: int, gestures: Sequence[Gesture]
) -> dict[str, dict[str, float]]:
    """Return for each label which share of its estimates each state has.

    Args:
        stamps_ns: Stamps of the estimates.
        states: The state of each.
        start_ns: Start of the recording, which the gestures count from.
        gestures: The gestures.
    """
    counts: dict[str, dict[str, int]] = {}
    seconds = (np.array(stamps_ns, np.int64) - start_ns) / NANOSECONDS
    for gesture in gestures:
        inside = np.flatnonzero((seconds >= gesture.start) & (seconds <= gesture.end))
        row = counts.setdefault(gesture.label, {})
        for at in inside:
            row[states[at]] = row.get(states[at], 0) + 1
    return {
        label: {state: count / sum(row.values()) for state, count in sorted(row.items())}
        for label, row in counts.items()
        if row
    }


def agreement(shares: Mapping[str, Mapping[str, float]], times: Mapping[str, float]) -> float | None:
    """Return the share of time in which the state has the name of the gesture; None where no label is a state's."""
    named = [label for label in shares if label.lower() in {state for row in shares.values() for state in row}]
    whole = sum(times[label] for label in shares)
    if not named or whole <= 0.0:
        return None
    return sum(times[label] * shares[label].get(label.lower(), 0.0) for label in named) / whole
