"""The three things that can be said of a result."""

from enum import StrEnum


class Verdict(StrEnum):
    """Whether a result may be used."""

    ACCEPT = 'accept'
    WARN = 'warn'
    REFUSE = 'refuse'
