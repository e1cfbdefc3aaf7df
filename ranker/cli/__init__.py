"""The command line: one file a command group. main.py puts them together."""
