"""Why there is no transform: the exceptions of tf2."""


class TransformException(Exception):  # noqa: N818  (its name in tf2)
    """Base of all reasons for which there is no transform."""


class LookupException(TransformException):
    """A frame is not known."""


class ConnectivityException(TransformException):
    """Both frames are known, but no chain of transforms ties them."""


class ExtrapolationException(TransformException):
    """The chain exists, but not at the requested time."""


class InvalidArgumentException(TransformException):
    """A frame name or a transform that must not be used."""


class TimeoutException(TransformException):
    """A server did not answer in time."""
