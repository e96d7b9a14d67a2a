"""The live view: a page on this machine that shows tool, patient and anatomy, each with its error."""
