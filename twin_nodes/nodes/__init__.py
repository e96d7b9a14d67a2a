"""One file, one node, one core object."""
