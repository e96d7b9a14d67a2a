"""Reports: one self-contained page of what a bag, a case or a bench holds."""
