"""One file per command: a docstring with examples, `Config`, `run(config) -> Run`, and `describe(summary) -> str`."""
