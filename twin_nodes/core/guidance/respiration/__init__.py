"""Breathing: where a marker on the skin will be, what that says of a target inside, and when a gate is open."""
