"""A mailer for tests: it stores mails, or raises the errors that a test sets."""

from collections.abc import Callable

from twelvefold.core import Mail

Answer = Callable[[Mail], Exception | None]


def _accept(mail: Mail) -> Exception | None:
    return None


class MemoryMailer:
    """Stores mails in `sent`. Raises the exception that `answer` returns for a mail, if any."""

    def __init__(self, answer: Answer = _accept) -> None:
        self.sent: list[Mail] = []
        self.answer = answer

    async def send(self, mail: Mail) -> None:
        if error := self.answer(mail):
            raise error
        self.sent.append(mail)

    async def check(self) -> None:
        """Do nothing: the mailer is always available."""

    async def close(self) -> None:
        """Do nothing: there is no connection."""
