"""Random numbers by packet: the i-th packet takes the i-th number of its stream, whatever the others draw."""

import numpy as np

BLOCK = 1024


def stream(seed: int, *purpose: int) -> np.random.Generator:
    """Return the generator of one purpose; other purposes of the same seed are independent of it."""
    return np.random.default_rng(np.random.SeedSequence((seed, *purpose)))


class Uniforms:
    """Uniform numbers in [0, 1), one per call, drawn in blocks.

    Args:
        rng: Their generator, which nobody else may use.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._block: list[float] = []
        self._next = 0

    def __call__(self) -> float:
        """Return the next number."""
        if self._next == len(self._block):
            self._block, self._next = self._rng.random(BLOCK).tolist(), 0
        self._next += 1
        return self._block[self._next - 1]
