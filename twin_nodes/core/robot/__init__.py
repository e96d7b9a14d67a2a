"""Robots: kinematic models, what they report, and where they stand."""
