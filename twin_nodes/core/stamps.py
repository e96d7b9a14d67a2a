"""Stamps: integer nanoseconds of the time of measurement."""

NANOSECONDS = 1_000_000_000  # in a second
