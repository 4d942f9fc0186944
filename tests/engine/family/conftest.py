"""Imports what pytest's plugin imports at the end of a session.

Its source is parsed with `ast`, which CPython 3.11 refuses after many coroutines were closed in the
middle of deep calls, as the processes that die in these tests are.
"""

import hypothesis.internal.observability  # noqa: F401
