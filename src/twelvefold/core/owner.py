"""The owner of the current task, for resources that owners share fairly.

It authorizes nothing: code that checks permissions gets the principal as a parameter.
"""

from contextvars import ContextVar

OWNER: ContextVar[str] = ContextVar("owner", default="")
"""A principal, or another owner of requests; "" for the process itself. Tasks inherit it."""
