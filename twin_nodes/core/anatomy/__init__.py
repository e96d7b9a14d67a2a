"""Surfaces and signed distances of the anatomy."""
