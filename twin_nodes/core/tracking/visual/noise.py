"""How noisy the corners of a body are, from the residuals of the images so far."""

_PRIOR_FREEDOM = 40.0
_MEMORY_FREEDOM = 4000.0
_LARGEST = 25.0  # variances: one image cannot shake the estimate


class VarianceFactor:
    """By how much the pixel variances are larger than stated: the variance of unit weight, with a prior of 1.

    Edges that are not straight, a lens that is not quite as calibrated and a print that is not quite flat all show
    here. It does not fall below `least`.

    Args:
        least: Floor.
    """

    def __init__(self, *, least: float = 0.25) -> None:
        self._least = least
        self._sum = self._freedom = _PRIOR_FREEDOM

    @property
    def value(self) -> float:
        """The factor."""
        return max(self._sum / self._freedom, self._least)

    def add(self, misfit: float, freedom: int) -> None:
        """Take the chi-square of one image, with pixel variances as stated, and its degrees of freedom."""
        if freedom <= 0:
            return
        limit = _LARGEST * self.value * freedom
        self._sum += min(misfit, limit)
        self._freedom += freedom
        if self._freedom > _MEMORY_FREEDOM:
            fade = _MEMORY_FREEDOM / self._freedom
            self._sum *= fade
            self._freedom *= fade

    def reset(self) -> None:
        """Forget what was seen."""
        self._sum = self._freedom = _PRIOR_FREEDOM
