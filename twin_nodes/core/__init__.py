"""Algorithms: arrays in, results out. Imports no ROS, reads no clock, does no input or output."""
