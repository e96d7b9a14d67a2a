"""Trains the networks of `core/guidance/prediction` on simulated operators and writes their weights.

    python scripts/train_operator_model.py [linear|reaching|free]

Plain numpy, Adam (Kingma and Ba 2015), minutes on one core. `linear` fits the weights with which the regressions start.
`reaching` trains the operator model: a million motions, seen at 20 to 200 Hz with up to 3 mm of noise. `free` trains
the model of hands that move freely, seen with up to 0.1 mm of noise. Without a word all are trained. No recording is
read.
"""

import sys
from pathlib import Path

import numpy as np

from twin_nodes.core.guidance.prediction.motion_kernels import features, lagged
from twin_nodes.core.guidance.prediction.operator_model import HORIZONS, LAGS, PACES, SCALE
from twin_nodes.core.guidance.prediction.smoothing import LEVELS, Smoothing
from twin_nodes.core.simulate.free_hand import free_hand_trace
from twin_nodes.core.simulate.operator_motion import OperatorTrace, operator_trace

OPERATORS = 420
HANDS = 200
FREE = 0.6  # share of hands that move freely among those; the others reach
HIDDEN, HIDDEN_FREE = 64, 40
EPOCHS, EPOCHS_FREE = 16, 12
BATCH = 512
RATE = 3e-3
LINEAR = 100  # operators that the linear weights are fitted to
MOVING = 0.002  # m/s; hands at rest are taken one in ten
NAMES = ('w1', 'b1', 'w2', 'b2', 'w3', 'b3')
OUT = Path(__file__).resolve().parents[1] / 'twin_nodes/core/guidance/prediction/operator_model.npz'


def seen(rng: np.random.Generator) -> tuple[OperatorTrace, float, int]:
    """Draw an operator as a tracker sees it, the rate [Hz], and a level: none, or any of them and noise of any size."""
    jitter = float(rng.choice([0.0, 0.0, 0.005, 0.012]))
    if rng.random() < 0.45:
        noise, rate, level = float(rng.choice([0.0, 0.0, 3e-5, 1e-4])), float(rng.choice([30.0, *[60.0] * 6, 100.0])), 0
    else:
        noise, rate = 10.0 ** rng.uniform(-5.0, -2.5), float(rng.choice([20.0, 30.0, 60.0, 60.0, 100.0, 200.0]))
        level = int(rng.choice(LEVELS, p=[0.2, 0.3, 0.3, 0.2])) if noise < 3e-4 else int(rng.integers(1, LEVELS))
    return operator_trace(rng, rate_hz=rate, noise=noise, jitter=jitter), rate, level


def seen_free(rng: np.random.Generator) -> tuple[OperatorTrace, float, int]:
    """Draw a hand that moves freely, or an operator, with little noise, and the rate [Hz]; the level is the raw one."""
    rate, noise = float(rng.choice([30.0, *[60.0] * 6, 100.0])), float(rng.choice([0.0, 0.0, 3e-5, 1e-4]))
    draw = free_hand_trace if rng.random() < FREE else operator_trace
    return draw(rng, rate_hz=rate, noise=noise, jitter=float(rng.choice([0.0, 0.0, 0.002, 0.005]))), rate, 0


def smoothed(trace: OperatorTrace, level: int) -> np.ndarray:
    """Positions at a level of smoothing, shape (n, 3)."""
    if level == 0:
        return trace.measured
    smoothing, found = Smoothing(), np.empty_like(trace.measured)
    smoothing.begin(trace.measured[0])
    for n, seconds in enumerate(np.diff(trace.times, prepend=trace.times[0])):
        if n:
            smoothing.add(seconds, trace.measured[n])
        found[n] = smoothing.positions[level - 1]
    return found


def motions(seed: int, free: bool) -> tuple[np.ndarray, ...]:
    """Features, pasts, true changes and weights of one operator's motions, at one level."""
    rng = np.random.default_rng(seed)
    trace, rate, level = seen_free(rng) if free else seen(rng)
    positions = smoothed(trace, level)
    stamps = np.round(trace.times * 1e9).astype(np.int64)
    rows, pasts, changes = [], [], []
    first, found = int(0.5 * rate) + 1, np.empty((len(LAGS), 3))
    for n in range(first, len(stamps) - first):
        if rng.random() > 60.0 / rate:
            continue
        lagged(stamps, positions, n + 1, stamps[n], LAGS, found)
        past = positions[n] - found
        if np.linalg.norm(past[2]) / LAGS[2] < MOVING and rng.random() > 0.1:
            continue
        ahead = [np.interp(trace.times[n] + HORIZONS, trace.times, trace.truth[:, axis]) for axis in range(3)]
        rows.append([*features(past, LAGS), *([] if free else [PACES[level]])])
        pasts.append(past)
        changes.append(np.stack(ahead, axis=1) - positions[n])
    weights = 1.0 / np.sqrt(np.mean(np.sum(np.square(changes), axis=2), axis=0))
    return tuple(np.array(part, np.float32) for part in (rows, pasts, changes, np.tile(weights, (len(rows), 1))))


def linear() -> np.ndarray:
    """Weights (levels, h, n) of one linear model for all: least squares in which each operator counts alike."""
    return np.stack([_linear(level) for level in range(LEVELS)])


def _linear(level: int) -> np.ndarray:
    count = len(LAGS)
    normal, right = np.zeros((len(HORIZONS), count, count)), np.zeros((len(HORIZONS), count))
    for seed in range(LINEAR):
        noise = 3e-5 if level == 0 else 10.0 ** np.random.default_rng(seed + 1).uniform(-5.0, -3.0)
        trace = operator_trace(np.random.default_rng(seed), noise=noise, jitter=0.01)
        positions = smoothed(trace, level)
        stamps = np.round(trace.times * 1e9).astype(np.int64)
        found, pasts, starts = np.empty((len(LAGS), 3)), [], []
        for n in range(31, len(stamps) - 31, 2):
            lagged(stamps, positions, n + 1, stamps[n], LAGS, found)
            if np.linalg.norm(positions[n] - found[2]) / LAGS[2] > MOVING:
                pasts.append(positions[n] - found)
                starts.append(n)
        if len(starts) < 50:
            continue
        past = np.array(pasts)
        for h, horizon in enumerate(HORIZONS):
            then = trace.times[starts] + horizon
            ahead = np.stack([np.interp(then, trace.times, trace.truth[:, axis]) for axis in range(3)], axis=1)
            change = ahead - positions[starts]
            weight = 1.0 / np.mean(np.sum(change**2, axis=1))
            normal[h] += weight * np.einsum('nia,nja->ij', past, past)
            right[h] += weight * np.einsum('nia,na->i', past, change)
    ridge = 1e-7 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / count * np.eye(count)
    return np.linalg.solve(normal + ridge, right[:, :, None])[:, :, 0]


def start(rng: np.random.Generator, inputs: int, hidden: int) -> list[np.ndarray]:
    """Weights and biases that begin with constant velocity."""
    sizes = (inputs, hidden, hidden, len(HORIZONS) * len(LAGS))
    layers = []
    for a, b, gain in zip(sizes, sizes[1:], (1.0, 1.0, 0.1), strict=False):
        layers += [rng.normal(0.0, gain / np.sqrt(a), (a, b)).astype(np.float32), np.zeros(b, np.float32)]
    layers[-1].reshape(len(HORIZONS), -1)[:, 2] = len(LAGS)
    return layers


def gradients(
    layers: list[np.ndarray], rows: np.ndarray, pasts: np.ndarray, changes: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Loss of each horizon and the gradients of all layers (back-propagation by hand)."""
    w1, b1, w2, b2, w3, b3 = layers
    first = np.tanh(rows @ w1 + b1)
    second = np.tanh(first @ w2 + b2)
    shares = (second @ w3 + b3).reshape(len(rows), len(HORIZONS), -1) * SCALE.astype(np.float32)
    errors = (np.einsum('nhl,nld->nhd', shares, pasts) - changes) * weights[:, :, None]
    out = np.einsum('nhd,nld->nhl', 2.0 * errors * weights[:, :, None] / len(rows), pasts) * SCALE.astype(np.float32)
    out = out.reshape(len(rows), -1)
    back2 = (out @ w3.T) * (1.0 - second**2)
    back1 = (back2 @ w2.T) * (1.0 - first**2)
    found = [rows.T @ back1, back1.sum(0), first.T @ back2, back2.sum(0), second.T @ out, out.sum(0)]
    return (errors**2).sum(-1).mean(0), found


def keep(found: dict[str, np.ndarray]) -> None:
    """Write some of the weights, and the others as they were."""
    with np.load(OUT) as kept:
        others = {name: kept[name] for name in kept.files}
    np.savez_compressed(OUT, **{**others, **found})


def train(epochs: int, free: bool) -> None:
    """Train one network, and write its weights after each epoch."""
    operators, prefix = (HANDS, 'free_') if free else (OPERATORS, '')
    drawn = (motions(seed, free) for seed in range(operators))
    data = [np.concatenate(parts) for parts in zip(*(one for one in drawn if len(one[0])), strict=True)]
    rng = np.random.default_rng(0)
    layers = start(rng, data[0].shape[1], HIDDEN_FREE if free else HIDDEN)
    means, squares = [np.zeros_like(layer) for layer in layers], [np.zeros_like(layer) for layer in layers]
    batches = len(data[0]) // BATCH
    for step in range(epochs * batches):
        if step % batches == 0:
            order, losses = rng.permutation(len(data[0])), 0.0
        picked = order[step % batches * BATCH :][:BATCH]
        loss, found = gradients(layers, *(part[picked] for part in data))
        losses = losses + loss / batches
        rate = RATE * (0.5 + 0.5 * np.cos(np.pi * step / (epochs * batches)))
        for layer, mean, square, slope in zip(layers, means, squares, found, strict=True):
            mean += 0.1 * (slope - mean)
            square += 0.001 * (slope**2 - square)
            root = np.sqrt(square / (1.0 - 0.999 ** (step + 1))) + 1e-8
            layer -= (rate * mean / (1.0 - 0.9 ** (step + 1)) / root).astype(np.float32)
        if step % batches == batches - 1:
            keep({prefix + name: layer for name, layer in zip(NAMES, layers, strict=True)})
            print(step // batches + 1, 'skill', np.round(1.0 - np.sqrt(losses), 4), flush=True)


if __name__ == '__main__':
    which = sys.argv[1] if len(sys.argv) > 1 else 'all'
    if which in ('all', 'linear'):
        keep({'line': linear()})
    if which in ('all', 'reaching'):
        train(EPOCHS, free=False)
    if which in ('all', 'free'):
        train(EPOCHS_FREE, free=True)
