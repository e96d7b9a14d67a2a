"""The tie of patient and anatomy, with its error."""
