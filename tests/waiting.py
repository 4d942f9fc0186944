"""How long a test waits before it fails."""

HANG_S = 240.0
"""A test that has waited for so long hangs. It measures no speed: a machine may be busy."""
