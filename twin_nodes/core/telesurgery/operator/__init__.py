"""A simulated operator who moves pegs over a bad link, fitted to people, and the trials that he works in."""
