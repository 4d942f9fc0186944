"""Where the process reports what it does, for `/metrics`.

Off by default: `active` is None then, and each place that measures checks that first. Importing
this module imports no library; `recorder` has the metrics themselves.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, Protocol

from twelvefold.core import Event

Service = Literal["database", "model", "mail", "tool"]
MailOutcome = Literal["sent", "deferred", "dead"]
_OFF = nullcontext()


class Metrics(Protocol):
    """Receives the measurements of a process, from any of its threads. No method waits."""

    def drive_started(self) -> None:
        """The process drives one more run."""

    def drive_ended(self) -> None:
        """The process drives one run fewer."""

    def recorded(self, workflow: str, events: Sequence[Event]) -> None:
        """The journal holds these entries of a run, which this process has written."""

    def step(self, workflow: str, seconds: float) -> None:
        """A step of a run ended, also with an error."""

    def tool(self, tool: str, seconds: float) -> None:
        """The function of a tool returned or raised."""

    def model(self, model: str, seconds: float, first_s: float | None, error: str) -> None:
        """A model replied, or ended with `error`, the name of an exception.

        `model` is its name in MODELS, or "default". `first_s` is the time until the first piece of
        text, None if there was none.
        """

    def retried(self, service: Service) -> None:
        """A request to a service is sent again."""

    def lease_lost(self) -> None:
        """Another process may continue a run that this one drove."""

    def taken_over(self, workflow: str) -> None:
        """The process continues a run whose last process did not give it back."""

    def mail(self, outcome: MailOutcome) -> None:
        """An attempt to send a mail ended."""

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """An HTTP request was answered; `route` is the path with placeholders, "" if none fits."""


active: Metrics | None = None
"""Receives the measurements; None: nothing is measured."""


@contextmanager
def reported_to(metrics: Metrics | None) -> Iterator[None]:
    """Report to `metrics` while the body runs; to nothing if it is None."""
    global active
    before, active = active, metrics
    try:
        yield
    finally:
        active = before


def driven_run() -> AbstractContextManager[None]:
    """Count a run that is driven as long as the body runs."""
    return _OFF if active is None else _count_drive(active)


@contextmanager
def _count_drive(metrics: Metrics) -> Iterator[None]:
    metrics.drive_started()
    try:
        yield
    finally:
        metrics.drive_ended()
