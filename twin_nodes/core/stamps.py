"""Stamps: integer nanoseconds of the time of measurement."""

NANOSECONDS = 1_000_000_000  # in a second
ALL_NS = (2**31 - 1) * NANOSECONDS  # the last instant of a stamp: nothing more will come
