"""The outbox: letters that a step's transaction has left there are sent, at least once.

A sender claims a letter for the length of a lease and renews that while it sends; a letter of a
process that died is due when its lease expires. A process that dies between the server's "250" and
its own note of it leaves the letter to the next, which sends it again under the same Message-ID;
nobody can do better without the server's help.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from twelvefold.core.ports import Mail, Mailer, OutboxMessage, Store
from twelvefold.engine.lease import Clock, Renewer
from twelvefold.engine.renewal import LeaseRenewer
from twelvefold.engine.retry import retry_unavailable
from twelvefold.engine.shield import ExitLimit, run_uninterrupted
from twelvefold.errors import MailRejected, MailUnavailable, ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.worker.message_lease import LeaseLapsed, MessageLease, kept, under_lease
from twelvefold.worker.poll_interval import PollInterval

log = get_logger(__name__)
FEW = 16
SLOW_S = 0.2
SENDERS = 4
"""Mails under way at once, at most. The next one waits for the one before, but not longer than
`SLOW_S`: what is in hand when a process is killed may leave twice, so that is one mail unless the
server is slow, and one that hangs keeps no other waiting."""
SEND_S = 90.0
LEASE_S = 30.0
NOTE_S = 3_600.0
"""How long to try to note what became of a letter: who forgets that it has left sends it again."""
FIRST_RETRY_S = 30.0
LONGEST_RETRY_S = 3_600.0
ATTEMPTS = 20
"""Then a letter is dead; it has been tried for about half a day."""


class OutboxSender:
    """Sends what is due, in no strict order. Reads the outbox when woken, else every `poll_s`.

    `lease_s` is how long a letter is claimed for, by `clock`, which is monotonic; `renewer` keeps
    the leases. `limit`: when a process that stops abandons its notes.
    """

    def __init__(
        self,
        store: Store,
        mailer: Mailer,
        poll_s: float,
        *,
        lease_s: float = LEASE_S,
        limit: ExitLimit | None = None,
        renewer: Renewer | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._store = store
        self._mailer = mailer
        self._lease_s = lease_s
        self._limit = limit
        self._renewer = renewer or LeaseRenewer()
        self._clock = clock
        self._rhythm = PollInterval(poll_s)
        self._places = asyncio.Semaphore(SENDERS)

    def wake(self) -> None:
        """Look for letters now: there may be some."""
        self._rhythm.nudge.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, and to the end what is under way then."""
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look(group, stop))
            stopping = group.create_task(self._nudge(stop))
            await asyncio.wait([looking])
            stopping.cancel()

    async def _nudge(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.wake()

    async def _look(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                due = await self._store.due_letters(FEW)
            except ServiceFault as error:
                await self._rhythm.failed("outbox_not_read", error)
                continue
            except Exception as error:
                # Whatever one row holds, the others must leave.
                log.exception("outbox_broke")
                await self._rhythm.failed("outbox_not_read", error)
                continue
            # Other workers have found the same ones.
            random.shuffle(due)
            taken = [await self._begin(letter, group, stop) for letter in due]
            if any(taken):
                await self._rhythm.found(True)
            else:
                await self._rhythm.idle()

    async def _begin(
        self, letter: OutboxMessage, group: asyncio.TaskGroup, stop: asyncio.Event
    ) -> bool:
        """Try a letter, if nobody else does; True if it was this one's to try."""
        await self._places.acquire()
        lease = None if stop.is_set() else await self._claimed(letter)
        if lease is None:
            self._places.release()
            return False
        sending = group.create_task(self._send(lease), name=f"send {letter.id}")
        sending.add_done_callback(lambda _: self._places.release())
        await asyncio.wait([sending], timeout=SLOW_S)
        return True

    async def _claimed(self, letter: OutboxMessage) -> MessageLease | None:
        sent_at = self._clock()
        try:
            if await self._store.claim_letter(letter, self._lease_s):
                return MessageLease(self._store, letter, self._lease_s, sent_at, self._clock)
        except ServiceFault as error:
            log.warning("mail_not_claimed", letter=letter.id, error=error)
        except Exception:
            # Whatever one row brings about, the others must leave.
            log.exception("mail_not_claimed", letter=letter.id)
        return None

    async def _send(self, lease: MessageLease) -> None:
        try:
            async with kept(lease, self._renewer):
                await self._deliver(lease)
        except ServiceFault as error:
            # It is due again when its lease has expired.
            log.error("mail_not_noted", letter=lease.message.id, error=error)
        except Exception:
            log.exception("mail_not_noted", letter=lease.message.id)

    async def _deliver(self, lease: MessageLease) -> None:
        letter, attempt = lease.message, lease.message.attempts + 1
        try:
            async with asyncio.timeout(SEND_S), under_lease(lease):
                await self._mailer.send(mail_of(letter))
        except LeaseLapsed:
            # Another sender may have it: what became of it is for that one to note.
            log.warning("mail_let_go", letter=letter.id, attempt=attempt)
        except MailRejected as error:
            await self._failed(letter, str(error), error, None)
        except MailUnavailable as error:
            await self._failed(letter, str(error), error, retry_s(attempt))
        except TimeoutError:
            silent = f"the mail server was silent for {SEND_S:g} s"
            await self._failed(letter, silent, silent, retry_s(attempt))
        except Exception as error:
            # One letter that breaks the mailer must not keep the others from leaving.
            log.exception("mail_broke", letter=letter.id)
            said = f"{type(error).__name__}: {error}"
            await self._failed(letter, said, error, retry_s(attempt))
        else:
            await self._noted(lambda: self._store.letter_sent(letter))
            log.info("mail_sent", letter=letter.id, attempt=attempt)

    async def _noted(self, note: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Try to note what became of a letter; a sender that is cancelled finishes the try."""
        await retry_unavailable(lambda: run_uninterrupted(note(), self._limit), NOTE_S, NOTE_S)

    async def _failed(
        self, letter: OutboxMessage, said: str, error: Exception | str, again_s: float | None
    ) -> None:
        """Note in the outbox what was said, which may quote the address, and log `error`."""
        await self._noted(lambda: self._store.letter_failed(letter, said, again_s))
        attempt = letter.attempts + 1
        if again_s is None:
            log.error("mail_dead", letter=letter.id, attempt=attempt, error=error)
        else:
            pause_s = round(again_s)
            log.warning(
                "mail_waits", letter=letter.id, attempt=attempt, error=error, pause_s=pause_s
            )


def retry_s(attempt: int) -> float | None:
    """When to try again after so many attempts, with jitter; None after the last."""
    if attempt >= ATTEMPTS:
        return None
    longest_s = min(FIRST_RETRY_S * 2.0 ** (attempt - 1), LONGEST_RETRY_S)
    return longest_s * random.uniform(0.75, 1)  # noqa: S311 - jitter, no secret


def mail_of(letter: OutboxMessage) -> Mail:
    """The letter as a mail. Raises MailRejected if it is none."""
    body: Mapping[str, Any] = letter.body
    if not isinstance(body.get("to"), str):
        raise MailRejected("the letter's body is no mail").loggable()
    return Mail(
        letter.id,
        body["to"],
        str(body.get("subject", "")),
        str(body.get("text", "")),
        str(body.get("html", "")),
    )
