"""Distances from the tool to what must not be touched, with their error."""
