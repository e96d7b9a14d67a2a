"""Telesurgery over bad networks: the link, the bridge, what bridges the delay."""
