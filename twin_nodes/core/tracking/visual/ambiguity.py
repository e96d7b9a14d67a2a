"""Which of two solutions is the true one, decided over time.

The true solution moves as bodies move; the other one moves as its mirror image and turns when the body only passes by.
Both are carried along with their probability (the forward pass of a hidden Markov model, Rabiner 1989): how well each
fits the image, and how likely each step from the solutions of the image before is.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.visual.config import VisualConfig

_MOST_EVIDENCE = 6.0  # of one image, in units of log likelihood: no single image decides
_DOUBT = 1e-4  # what is always left to the less likely one
_IMAGES_ALIKE = 15  # in a row, whose errors are taken as the same
_KEPT = 0.98  # of what was known, from image to image
_MERGED = 3.0  # standard deviations between two solutions that are one within their noise


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One solution of an image.

    Args:
        pose: camera_T_body, shape (4, 4).
        covariance: Of the pose, shape (6, 6).
        misfit: Sum of its squared reprojection errors, whitened and in pixels [px²].
    """

    pose: Array
    covariance: Array
    misfit: float


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The solution that is believed.

    Args:
        number: Its place among the branches.
        probability: That it is the true one.
        certain: Whether that suffices.
        covariance: Of the pose, the doubt between two near solutions included, shape (6, 6).
        merged: Whether the two are one within their noise.
    """

    number: int
    probability: float
    certain: bool
    covariance: Array
    merged: bool


class BranchChooser:
    """Carries the solutions of one body from image to image.

    Args:
        config: Settings.
    """

    def __init__(self, config: VisualConfig) -> None:
        self._config = config
        self._branches: tuple[Branch, ...] = ()
        self._weights = np.empty(0)
        self._stamp_ns = 0
        self._images = 0

    def reset(self) -> None:
        """Forget what was seen."""
        self._branches, self._weights = (), np.empty(0)

    def choose(self, stamp_ns: int, branches: tuple[Branch, ...], pixel_sigma: float) -> Choice:
        """Take the one or two solutions of an image and say which is believed.

        Errors that last are the same in n images, so n images weigh as one with a variance of σ² + n b², not σ²/n.

        Args:
            stamp_ns: Of the image.
            branches: Its solutions.
            pixel_sigma: Standard deviation σ of a corner that is new in each image [px].
        """
        config = self._config
        elapsed = (stamp_ns - self._stamp_ns) / NANOSECONDS
        if not self._branches or not 0.0 < elapsed <= config.memory:
            prior, self._images = np.zeros(len(branches)), 0
        else:
            prior = self._predicted(branches, elapsed)
        misfits = np.array([branch.misfit for branch in branches])
        self._images = min(self._images + 1, _IMAGES_ALIKE)
        variance = pixel_sigma**2 + self._images * max(config.lasting_error, pixel_sigma) ** 2
        evidence = -0.5 * (misfits - misfits.min()) / variance
        weights = prior + np.maximum(evidence, -_MOST_EVIDENCE)
        weights = np.exp(weights - weights.max())
        weights = np.maximum(weights / weights.sum(), _DOUBT)
        weights /= weights.sum()
        self._branches, self._weights, self._stamp_ns = branches, weights, stamp_ns
        return self._choice()

    def _predicted(self, branches: tuple[Branch, ...], elapsed: float) -> Array:
        """Return the log of Σ over the branches before of weight × likelihood of the step, for each branch now."""
        steps = np.array([[self._step(before, now, elapsed) for before in self._branches] for now in branches])
        total = steps + _KEPT * np.log(self._weights)
        top = total.max(axis=1)
        prior = top + np.log(np.exp(total - top[:, None]).sum(axis=1))
        # a step that none of the branches explains says nothing for either
        return np.asarray(np.maximum(prior - prior.max(), np.log(_DOUBT)))

    def _step(self, before: Branch, now: Branch, elapsed: float) -> float:
        """Return the log likelihood of a turn between two images."""
        turn = pose_error(before.pose, now.pose)[3:]
        spread = before.covariance[3:, 3:] + now.covariance[3:, 3:]
        spread = spread + np.eye(3) * (self._config.turn_rate * elapsed) ** 2 / 3.0
        square = float(turn @ np.linalg.solve(spread, turn))
        return -0.5 * square - 0.5 * float(np.linalg.slogdet(spread)[1])

    def _choice(self) -> Choice:
        best = int(np.argmax(self._weights))
        chosen = self._branches[best]
        probability = float(self._weights[best])
        if len(self._branches) == 1:
            return Choice(0, 1.0, True, chosen.covariance, False)
        other = self._branches[1 - best]
        apart = pose_error(chosen.pose, other.pose)
        square = float(apart @ np.linalg.solve(chosen.covariance + other.covariance, apart))
        merged = square < _MERGED**2
        covariance = chosen.covariance
        if merged:
            share = 1.0 - probability
            covariance = probability * covariance + share * other.covariance + share * np.outer(apart, apart)
        return Choice(best, probability, merged or probability >= self._config.certainty, covariance, merged)
