"""What holds for all tests."""

import signal

from hypothesis import settings

# A deadline for each example measures the machine: on a busy one, any test may exceed it.
settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")

# A command that a shell runs in the background ignores SIGINT, and so do the processes that it
# starts: a test of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
