"""How well a task was done, from the motion alone: measures of one trial, and a score over several."""
