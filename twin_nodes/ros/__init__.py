"""Messages to records, parameters to configs, health to diagnostics."""
