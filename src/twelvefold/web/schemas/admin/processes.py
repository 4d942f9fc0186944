"""Processes as operators see them."""

from typing import Literal

from msgspec import Struct

from twelvefold.core import ProcessKind
from twelvefold.web.schemas.objects import Answer


class AdminProcess(Struct):
    """A web process or a worker, as its last heartbeat described it.

    `runs` is how many runs it drives. `heartbeat_age_s`: seconds since its last heartbeat, of which
    there is one every ten seconds. A process that was killed is listed for a day.
    """

    id: str
    object: Literal["admin.process"]
    kind: ProcessKind
    release: str
    host: str
    pid: int
    runs: int
    started_at: float
    heartbeat_at: float
    heartbeat_age_s: float


class AdminProcessList(Answer):
    """The processes of the last day, the last to start first."""

    object: Literal["list"]
    data: list[AdminProcess]
    first_id: str | None
    last_id: str | None
    has_more: bool
