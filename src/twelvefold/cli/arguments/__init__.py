"""The arguments of each group of commands. Imports nothing that `--help` can do without."""
