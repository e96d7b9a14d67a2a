"""Simulated rooms with known truth, seeded."""
