"""A mail server's double for tests: it keeps what it is given, or refuses it as it is told."""

from collections.abc import Callable

from twelvefold.core.ports import Mail

Answer = Callable[[Mail], Exception | None]


def _takes(mail: Mail) -> Exception | None:
    return None


class MemoryMailer:
    """Keeps mails in `sent`. An exception that `answer` returns for a mail is raised instead."""

    def __init__(self, answer: Answer = _takes) -> None:
        self.sent: list[Mail] = []
        self.answer = answer

    async def send(self, mail: Mail) -> None:
        if error := self.answer(mail):
            raise error
        self.sent.append(mail)

    async def check(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        """Nothing is open."""
