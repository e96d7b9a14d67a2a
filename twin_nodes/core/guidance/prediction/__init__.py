"""Where the tool will be a short time from now, and how sure that is."""
