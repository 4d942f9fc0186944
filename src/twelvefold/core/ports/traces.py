"""The port of trace exports: which runs have spans that may not have been exported yet."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from twelvefold.core.ids import RunId


class TraceExport(NamedTuple):
    """The spans of a run up to the entry at `position`; `age_s` is how long they have waited."""

    run: RunId
    position: int
    age_s: float = 0.0


class TraceStore(Protocol):
    """Exports that may be missing. Every method may raise StoreUnavailable.

    A step that ends a run or lets it wait adds one, in its transaction, if `Append.traced`.
    """

    async def add_trace_export(self, export: TraceExport) -> None:
        """Add one; a repetition changes nothing."""
        ...

    async def claim_trace_exports(self, *, limit: int, lease_s: float) -> list[TraceExport]:
        """Return exports that are due, the oldest first; no other process gets them for `lease_s`.

        One is due a minute after it was added.
        """
        ...

    async def remove_trace_exports(self, exports: Iterable[TraceExport]) -> None:
        """Remove exports: their spans were exported."""
        ...
