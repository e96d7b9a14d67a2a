"""Poses, rotations and their covariances."""
