"""The password of the mail server in a file, which is replaced while mails are sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.secret_files import write
from tests.services.mail.test_smtp import mail
from tests.smtp_sink import Sink
from twelvefold import Settings
from twelvefold.boot import open_mailer
from twelvefold.core.ports import Mailer
from twelvefold.errors import MailUnavailable, SettingsError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("old-secret\n")
    return path


@asynccontextmanager
async def mailing(sink: Sink, file: Path) -> AsyncIterator[Mailer]:
    url = sink.url("?starttls=off", login="desk")
    settings = Settings.from_environ(
        {"SMTP_URL": url, "SMTP_PASSWORD_FILE": str(file), "MAIL_FROM": "office@academy.example"}
    )
    async with open_mailer(settings) as mailer:
        assert mailer is not None
        yield mailer


async def test_a_login_has_the_password_that_is_in_the_file(file: Path) -> None:
    async with Sink(login=("desk", "old-secret")).serving() as sink, mailing(sink, file) as mailer:
        await mailer.send(mail("4f.1.1"))
        sink.login = ("desk", "new-secret")
        sink.answers["RSET"] = "421 idle for too long"
        write(file, "new-secret")
        await mailer.send(mail("4f.2.1"))

    assert [one.user for one in sink.mails] == ["desk", "desk"]


async def test_an_open_connection_continues_with_the_old_password(file: Path) -> None:
    async with Sink(login=("desk", "old-secret")).serving() as sink, mailing(sink, file) as mailer:
        await mailer.send(mail("4f.1.1"))
        sink.login = ("desk", "new-secret")
        write(file, "new-secret")
        await mailer.send(mail("4f.2.1"))

    assert (len(sink.mails), sink.connections) == (2, 1)


class ReplacesWhenRefused(Sink):
    """A server that has a new password; the file gets it when a login was refused."""

    file: Path

    def knows(self, user: str, password: str) -> bool:
        is_known = super().knows(user, password)
        if not is_known:
            write(self.file, "new-secret")
        return is_known


async def test_a_refused_login_is_tried_once_more_with_the_new_password(file: Path) -> None:
    sink = ReplacesWhenRefused(login=("desk", "new-secret"))
    sink.file = file

    async with sink.serving(), mailing(sink, file) as mailer:
        await asyncio.gather(*(mailer.send(mail(f"4f.{number}.1")) for number in range(3)))

    assert len(sink.mails) == 3
    assert sink.connections <= 6


async def test_a_password_that_is_still_in_the_file_is_tried_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Sink(login=("desk", "other")).serving() as sink, mailing(sink, file) as mailer:
        with pytest.raises(MailUnavailable, match="535") as refused:
            await mailer.send(mail())

    assert sink.connections == 1
    assert "secret" not in f"{refused.value}{refused.value.log_text}{caplog.text}"


async def test_a_file_without_a_password_is_an_error_when_mail_is_opened(file: Path) -> None:
    write(file, "")

    with pytest.raises(SettingsError, match=f"^SMTP_PASSWORD_FILE: {file}: it is empty$"):
        async with mailing(Sink(port=25), file):
            pass
