"""The exceptions of twin_nodes: what is wrong, where, and the mend."""


class TwinError(Exception):
    """Base of all errors that twin_nodes raises on purpose.

    Args:
        message: What was expected, what was seen, what to do, in one line.
        code: Stable diagnostic code, an entry of `twin_nodes.core.codes.CODES`; empty when none fits.
    """

    def __init__(self, message: str, *, code: str = '') -> None:
        super().__init__(message)
        self.code = code


class ConfigError(TwinError, ValueError):
    """A configuration that must not start: the process says one clear line and exits with 1."""


class InputError(TwinError, ValueError):
    """A message or file that must not be used: it is dropped and counted, nothing is published."""


class DegenerateGeometryError(TwinError, ValueError):
    """Correct input from which no answer exists, such as collinear fiducials."""
