"""The `twin` command, the live view and the benches."""
