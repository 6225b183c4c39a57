"""The command line: one module a command, options and help text only."""
