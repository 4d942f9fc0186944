"""The runs before the latest one: as entries, as turns, and in the form of a request."""

from dataclasses import dataclass
from functools import cached_property

from twelvefold.core.conversation.sent_history import SentHistory
from twelvefold.core.conversation.turns import CallResults, Turn, results_of, turns_of
from twelvefold.core.events import Entry


@dataclass(frozen=True)
class History:
    """The entries before the latest run, and their turns, computed once.

    `start` is the first entry of the latest run: it may hold results of earlier calls.
    """

    entries: tuple[Entry, ...]
    start: Entry | None = None

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        start = self.start.position if self.start else 0
        unread = (ids for (at, _), ids in self.results.client_items.items() if at == start)
        return turns_of(self.entries, self.results, {id for ids in unread for id in ids})

    @cached_property
    def results(self) -> CallResults:
        return results_of((*self.entries, self.start) if self.start else self.entries)

    @cached_property
    def sent(self) -> SentHistory:
        """The part of the turns that every later request begins with."""
        return SentHistory().extended(self.turns)

    def followed_by(self, entries: tuple[Entry, ...], start: Entry) -> "History":
        """Return the history with a further run, and keep the properties that stay valid."""
        history = History(self.entries + entries, start)
        if "sent" not in vars(self) or self.results.may_change_earlier_turns:
            return history
        results = results_of((*entries, start))
        if not results.may_change_earlier_turns:
            turns = self.turns + turns_of(entries, results, frozenset())
            sent = self.sent.extended(turns)
            vars(history).update(turns=turns, results=CallResults(), sent=sent)
        return history
