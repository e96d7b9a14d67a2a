"""`twin breathing TRACE`: how far ahead a recorded breath can be told, beside what simpler predictors make of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.guidance.respiration.config import BreathingConfig
from twin_nodes.core.guidance.respiration.trial import Errors, follow
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.recordings.breathing import BreathingTrace, read_breathing


def judge_trace(trace: BreathingTrace, config: BreathingConfig | None = None) -> list[dict[str, Any]]:
    """Predict a trace sample by sample and return the errors of each horizon.

    Args:
        trace: The trace.
        config: Horizons and lags.

    Returns:
        For each horizon: ahead_s, rmse, hold_last, linear, least_mean_squares (the best of its step sizes), all in the
        unit of the trace; skill over hold-last; coverage95; predictions.

    Raises:
        InputError: The trace is too short for any prediction.
    """
    config = config or BreathingConfig()
    errors = [Errors() for _ in config.horizons]
    follow(config, trace.stamps_ns / NANOSECONDS, trace.positions, errors)
    told = []
    for horizon, error in zip(config.horizons, errors, strict=True):
        if not error.hits:
            raise InputError(
                f'{trace.name}: nothing could be predicted: {config.learning_time:g} s without a gap above '
                f'{config.max_gap:g} s are learned from first, and {horizon:g} s must follow'
            )
        own, hold = error.rmse('own'), error.rmse('hold-last')
        told.append({
            'ahead_s': horizon, 'rmse': own * trace.per_metre, 'hold_last': hold * trace.per_metre,
            'linear': error.rmse('linear') * trace.per_metre,
            'least_mean_squares': error.least_mean_squares * trace.per_metre,
            'skill': 1.0 - own / hold if hold > 0.0 else 0.0, 'coverage95': float(np.mean(error.hits)),
            'predictions': len(error.hits),
        })  # fmt: skip
    return told


def print_breathing(paths: list[Path], *, channel: str = '', as_json: bool = False) -> int:
    """Print what each trace is, and how far ahead it can be told; returns the exit status."""
    for path in paths:
        trace = read_breathing(path, channel=channel)
        rows = judge_trace(trace)
        seconds = float(trace.stamps_ns[-1] - trace.stamps_ns[0]) / NANOSECONDS
        span = float(np.linalg.norm(np.ptp(trace.positions, axis=0))) * trace.per_metre
        if as_json:
            head = {'trace': trace.name, 'unit': trace.unit, 'seconds': seconds, 'samples': len(trace.stamps_ns)}
            print(json.dumps(head | {'span': span, 'notes': trace.notes, 'horizons': rows}))
            continue
        print(f'{trace.name}: {len(trace.stamps_ns)} samples over {seconds:.1f} s, moves {span:.3g} {trace.unit}')
        for note in trace.notes:
            print(f'  {note}')
        for row in rows:
            print(
                f'  {row["ahead_s"]:g} s ahead: error {row["rmse"]:.3g} {trace.unit} RMS (hold-last '
                f'{row["hold_last"]:.3g}, linear {row["linear"]:.3g}, least mean squares '
                f'{row["least_mean_squares"]:.3g}), 95 % band holds {100.0 * row["coverage95"]:.1f} %'
            )
    return 0
