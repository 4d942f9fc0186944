"""On whose behalf the current task works, for what is shared fairly between owners.

It is no authorization: code that checks what a principal may do gets the principal as a parameter.
"""

from contextvars import ContextVar

OWNER: ContextVar[str] = ContextVar("owner", default="")
"""A principal, or another owner of requests; "" for the process itself. Tasks inherit it."""
