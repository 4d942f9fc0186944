"""Sends the messages that steps have written to the outbox, each at least once.

A sender claims a message under a lease, which it renews while it sends; the message of a process
that died is due when its lease expires. A process that dies between the server's "250" and its own
write of that outcome leaves the message to the next sender, which sends it again under the same
Message-ID. Only the mail server could prevent that.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from twelvefold.backoff import Backoff
from twelvefold.core import Mail, Mailer, OutboxMessage, Store
from twelvefold.engine import (
    RENEWALS_PER_LEASE,
    Clock,
    ExitLimit,
    LeaseRenewer,
    Renewer,
    retry_unavailable,
    run_uninterrupted,
)
from twelvefold.errors import MailRejected, MailUnavailable, ServiceFault
from twelvefold.observe import metrics
from twelvefold.observe.log import get_logger
from twelvefold.observe.metrics import MailOutcome
from twelvefold.worker.message_lease import (
    LeaseLapsed,
    MessageLease,
    keep_renewed,
    require_lease,
)
from twelvefold.worker.poll_interval import PollInterval

log = get_logger(__name__)
BATCH_SIZE = 16
PARALLEL_SENDS = 4
"""How many mails are sent in parallel at most. The next mail waits for the one before, but not
longer than `slow_s`: mails that are being sent when a process is killed may be sent twice, so that
is one mail unless the server is slow, and a hanging one does not delay the others."""
MAIL_BACKOFF = Backoff(first_s=30.0, longest_s=3_600.0, jitter=(0.75, 1.0))


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """How long a message is sent and retried, in seconds.

    `send_timeout_s` limits one attempt; `slow_s`: see PARALLEL_SENDS. `record_timeout_s`: how long
    the sender tries to write the outcome, since a message whose outcome is lost is sent again.
    After `max_attempts`, which is about half a day, a message is dead.
    """

    send_timeout_s: float = 90.0
    slow_s: float = 0.2
    record_timeout_s: float = 3_600.0
    backoff: Backoff = MAIL_BACKOFF
    max_attempts: int = 20
    lease_s: float = 30.0
    renewals_per_lease: float = RENEWALS_PER_LEASE

    def pause_s(self, attempts: int) -> float | None:
        """Return the pause after so many attempts; None after the last."""
        return None if attempts >= self.max_attempts else self.backoff.pause_s(attempts)


class OutboxSender:
    """Sends due messages, in no strict order. Reads the outbox when woken, else every `poll_s`.

    `clock`, which is monotonic, is that of the leases; `renewer` renews them. `limit`: when a
    process that stops abandons the write of outcomes.
    """

    def __init__(
        self,
        store: Store,
        mailer: Mailer,
        poll_s: float,
        *,
        policy: SendPolicy | None = None,
        limit: ExitLimit | None = None,
        renewer: Renewer | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._store = store
        self._mailer = mailer
        self._policy = policy or SendPolicy()
        self._limit = limit
        self._renewer = renewer or LeaseRenewer()
        self._clock = clock
        self._poll = PollInterval(poll_s)
        self._slots = asyncio.Semaphore(PARALLEL_SENDS)

    def wake(self) -> None:
        """Read the outbox now: there may be new messages."""
        self._poll.nudge.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, and finish what is being sent then."""
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._send_due(group, stop))
            stopping = group.create_task(self._wake_on(stop))
            await asyncio.wait([sending])
            stopping.cancel()

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.wake()

    async def _send_due(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                due = await self._store.due_messages(BATCH_SIZE)
            except Exception as error:
                if not isinstance(error, ServiceFault):
                    # The error may be of one row: the other messages must be sent.
                    log.exception("outbox_search_failed")
                await self._poll.failed("outbox_not_read", error)
                continue
            # Other workers have found the same messages.
            random.shuffle(due)
            started = [await self._start(message, group, stop) for message in due]
            if any(started):
                await self._poll.found(True)
            else:
                await self._poll.idle()

    async def _start(
        self, message: OutboxMessage, group: asyncio.TaskGroup, stop: asyncio.Event
    ) -> bool:
        """Claim a message and begin to send it; return whether it was claimed."""
        await self._slots.acquire()
        lease = None if stop.is_set() else await self._claim(message)
        if lease is None:
            self._slots.release()
            return False
        sending = group.create_task(self._send(lease), name=f"send {message.id}")
        sending.add_done_callback(lambda _: self._slots.release())
        await asyncio.wait([sending], timeout=self._policy.slow_s)
        return True

    async def _claim(self, message: OutboxMessage) -> MessageLease | None:
        lease_s, sent_at = self._policy.lease_s, self._clock()
        try:
            if not await self._store.claim_message(message, lease_s):
                return None
        except ServiceFault as error:
            log.warning("mail_not_claimed", mail=message.id, error=error)
            return None
        except Exception:
            # The error may be of this row: the other messages must be sent.
            log.exception("mail_not_claimed", mail=message.id)
            return None
        renewals = self._policy.renewals_per_lease
        return MessageLease(self._store, message, lease_s, sent_at, self._clock, renewals=renewals)

    async def _send(self, lease: MessageLease) -> None:
        try:
            async with keep_renewed(lease, self._renewer):
                await self._deliver(lease)
        except ServiceFault as error:
            # The message is due again when its lease has expired.
            log.error("mail_outcome_not_written", mail=lease.message.id, error=error)
        except Exception:
            log.exception("mail_outcome_not_written", mail=lease.message.id)

    async def _deliver(self, lease: MessageLease) -> None:
        message, attempt = lease.message, lease.message.attempts + 1
        try:
            async with asyncio.timeout(self._policy.send_timeout_s), require_lease(lease):
                await self._mailer.send(mail_of(message))
        except LeaseLapsed:
            # Another sender may have the message, and writes the outcome.
            log.warning("mail_lease_lapsed", mail=message.id, attempt=attempt)
        except Exception as error:
            # A message on which the mailer fails must not delay the others.
            await self._handle_failure(message, error)
        else:
            await self._record(lambda: self._store.message_sent(message))
            _report("sent")
            log.info("mail_sent", mail=message.id, attempt=attempt)

    async def _handle_failure(self, message: OutboxMessage, error: Exception) -> None:
        pause_s = self._policy.pause_s(message.attempts + 1)
        match error:
            case MailRejected():
                await self._record_failure(message, str(error), error, None)
            case MailUnavailable():
                await self._record_failure(message, str(error), error, pause_s)
            case TimeoutError():
                silent = f"the mail server was silent for {self._policy.send_timeout_s:g} s"
                await self._record_failure(message, silent, silent, pause_s)
            case _:
                log.exception("mailer_failed", mail=message.id)  # noqa: LOG004 - in a handler
                text = f"{type(error).__name__}: {error}"
                await self._record_failure(message, text, error, pause_s)

    async def _record(self, write: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Write the outcome of a message; a sender that is cancelled finishes the current try."""
        timeout_s = self._policy.record_timeout_s
        await retry_unavailable(
            lambda: run_uninterrupted(write(), self._limit), timeout_s, timeout_s
        )

    async def _record_failure(
        self, message: OutboxMessage, text: str, error: Exception | str, pause_s: float | None
    ) -> None:
        """Write `text`, which may quote the address, to the outbox, and log `error`."""
        await self._record(lambda: self._store.message_failed(message, text, pause_s))
        attempt = message.attempts + 1
        _report("dead" if pause_s is None else "deferred")
        if pause_s is None:
            log.error("mail_dead", mail=message.id, attempt=attempt, error=error)
        else:
            log.warning(
                "mail_deferred",
                mail=message.id,
                attempt=attempt,
                error=error,
                pause_s=round(pause_s),
            )


def _report(outcome: MailOutcome) -> None:
    if metrics.active is not None:
        metrics.active.mail(outcome)


def mail_of(message: OutboxMessage) -> Mail:
    """Return the message as a mail. Raises MailRejected if it is none."""
    body: Mapping[str, Any] = message.body
    if not isinstance(body.get("to"), str):
        raise MailRejected("the message's body is no mail").loggable()
    return Mail(
        message.id,
        body["to"],
        str(body.get("subject", "")),
        str(body.get("text", "")),
        str(body.get("html", "")),
        str(body.get("traceparent", "")),
    )
