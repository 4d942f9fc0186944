"""The SMTP client with a real server: transmission, TLS, and the classification of replies."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.smtp_sink import Sink
from twelvefold.core.ports import Mail
from twelvefold.errors import MailRejected, MailUnavailable, SettingsError
from twelvefold.services.mail import open_mailer
from twelvefold.services.mail.message import parse_sender
from twelvefold.services.mail.smtp import READ_TIMEOUT_S, SMTPMailer, SMTPServer

ACADEMY = parse_sender("office@academy.example")


def mail(id: str = "4f.7.1", to: str = "ann@example.org", text: str = "You are in.\n") -> Mail:
    return Mail(id, to, "Welcome", text)


@asynccontextmanager
async def mailing(
    sink: Sink,
    query: str = "",
    *,
    login: str = "",
    tls: ssl.SSLContext | None = None,
    timeout_s: float = READ_TIMEOUT_S,
) -> AsyncIterator[SMTPMailer]:
    async with sink.serving():
        server = SMTPServer.parse(sink.url(query, login=login))
        mailer = SMTPMailer(server, ACADEMY, tls, timeout_s=timeout_s)
        try:
            yield mailer
        finally:
            await mailer.close()


async def test_a_mail_is_sent_unchanged() -> None:
    text = "Dear Ann,\n.\n..\nyou are in.\n"

    async with mailing(sink := Sink()) as mailer:
        await mailer.send(mail(text=text))

    (received,) = sink.mails
    assert (received.sender, received.recipient) == ("office@academy.example", "ann@example.org")
    assert received.id == "<twelvefold.4f.7.1@academy.example>"
    assert received.message.get_content() == text


async def test_a_connection_is_reused() -> None:
    async with mailing(sink := Sink()) as mailer:
        for number in range(5):
            await mailer.send(mail(f"4f.{number}.1"))

    assert (len(sink.mails), sink.connections) == (5, 1)
    assert sink.heard[-1] == "QUIT"


async def test_concurrent_mails_use_separate_connections() -> None:
    async with mailing(sink := Sink()) as mailer:
        await asyncio.gather(*(mailer.send(mail(f"4f.{number}.1")) for number in range(6)))

    assert len({one.id for one in sink.mails}) == 6


async def test_a_connection_closed_by_the_server_is_replaced() -> None:
    async with mailing(sink := Sink()) as mailer:
        await mailer.send(mail("4f.1.1"))
        sink.answers["RSET"] = "421 idle for too long"
        await mailer.send(mail("4f.2.1"))

    assert (len(sink.mails), sink.connections) == (2, 2)


async def test_starttls_is_used_if_offered(
    servers_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with mailing(sink := Sink(tls=servers_tls), tls=trusting) as mailer:
        await mailer.send(mail())

    assert sink.mails[0].over_tls


async def test_smtps_is_tls_from_the_first_byte(
    servers_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    sink = Sink(tls=servers_tls, implicit_tls=True, login=("academy", "p@ss:w/rd"))

    async with mailing(sink, login="academy:p%40ss%3Aw%2Frd", tls=trusting) as mailer:
        await mailer.send(mail())

    assert (sink.mails[0].over_tls, sink.mails[0].user) == (True, "academy")


async def test_an_untrusted_certificate_is_rejected(servers_tls: ssl.SSLContext) -> None:
    async with mailing(sink := Sink(tls=servers_tls)) as mailer:
        with pytest.raises(MailUnavailable, match=r"(?i)certificate"):
            await mailer.send(mail())

    assert sink.mails == []


async def test_the_login_uses_tls(servers_tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    sink = Sink(tls=servers_tls, login=("academy", "secret"))

    async with mailing(sink, login="academy:secret", tls=trusting) as mailer:
        await mailer.send(mail())

    assert (sink.mails[0].over_tls, sink.mails[0].user) == (True, "academy")


async def test_a_password_is_not_sent_to_a_server_without_tls() -> None:
    async with mailing(sink := Sink(login=("academy", "secret")), login="academy:secret") as mailer:
        with pytest.raises(MailUnavailable, match=r"(?i)starttls"):
            await mailer.send(mail())

    assert not any("AUTH" in line for line in sink.heard)


async def test_a_password_is_sent_in_clear_text_with_starttls_off() -> None:
    sink = Sink(login=("academy", "secret"))

    async with mailing(sink, "?starttls=off", login="academy:secret") as mailer:
        await mailer.send(mail())

    assert sink.mails[0].user == "academy"


async def test_starttls_can_be_required_without_a_login() -> None:
    async with mailing(sink := Sink(), "?starttls=required") as mailer:
        with pytest.raises(MailUnavailable):
            await mailer.send(mail())

    assert sink.mails == []


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("RCPT", "550 5.1.1 no such user"),
        ("DATA", "554 5.7.1 this is spam"),
        (".", "552 5.3.4 too long"),
        ("MAIL", "552 5.3.4 too long"),
    ],
)
async def test_a_permanent_error_about_the_mail_rejects_it(verb: str, answer: str) -> None:
    async with mailing(Sink(answers={verb: answer})) as mailer:
        with pytest.raises(MailRejected, match=answer[:9]):
            await mailer.send(mail())


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("RCPT", "450 4.2.1 greylisted"),
        ("DATA", "451 4.3.0 try later"),
        (".", "451 4.3.0 try later"),
        ("MAIL", "452 4.3.1 the disk is full"),
        ("MAIL", "553 5.7.1 you may not send as this"),
        ("RCPT", "554 5.7.1 Relay access denied"),
        ("RCPT", "530 Authentication required"),
        ("RCPT", "553 5.1.8 no such sender's domain"),
        ("RCPT", "552 5.2.2 mailbox full"),
        (".", "552 5.2.2 mailbox full"),
        ("CONNECT", "554 5.7.1 go away"),
        ("CONNECT", "421 too many"),
        ("CONNECT", ""),
        ("EHLO", ""),
        ("RCPT", ""),
        (".", ""),
        ("RCPT", "421 shutting down"),
    ],
)
async def test_a_temporary_error_or_a_wrong_setting_allows_a_retry(verb: str, answer: str) -> None:
    async with mailing(Sink(answers={verb: answer})) as mailer:
        with pytest.raises(MailUnavailable):
            await mailer.send(mail())


async def test_a_wrong_password_allows_a_retry_and_is_not_in_the_error() -> None:
    sink = Sink(login=("academy", "other"))

    async with mailing(sink, "?starttls=off", login="academy:secret") as mailer:
        with pytest.raises(MailUnavailable, match="535 no such login") as raised:
            await mailer.send(mail())

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "RCPT", "DATA", "."])
async def test_a_reply_is_awaited_until_its_timeout(verb: str) -> None:
    async with mailing(Sink(answers={verb: None}), timeout_s=0.1) as mailer:
        with pytest.raises(MailUnavailable):
            await mailer.send(mail())


async def test_an_unreachable_server_allows_a_retry() -> None:
    mailer = SMTPMailer(SMTPServer("localhost", 9), ACADEMY)

    with pytest.raises(MailUnavailable, match="no connection to the mail server localhost:9"):
        await mailer.send(mail())


async def test_the_next_mail_after_a_refusal_is_sent() -> None:
    async with mailing(sink := Sink(answers={"RCPT": "550 no such user"})) as mailer:
        with pytest.raises(MailRejected):
            await mailer.send(mail("4f.1.1"))
        sink.answers.clear()
        await mailer.send(mail("4f.2.1"))

    assert [one.id for one in sink.mails] == ["<twelvefold.4f.2.1@academy.example>"]


async def test_a_non_ascii_address_is_rejected_without_smtputf8() -> None:
    async with mailing(Sink(utf8=False)) as mailer:
        with pytest.raises(MailRejected, match="SMTPUTF8"):
            await mailer.send(mail(to="zoë@example.org"))


async def test_a_non_ascii_address_is_sent_with_smtputf8() -> None:
    async with mailing(sink := Sink()) as mailer:
        await mailer.send(mail(to="zoë@example.org"))

    assert sink.mails[0].recipient == "zoë@example.org"


async def test_a_cancelled_mail_closes_its_connection() -> None:
    async with mailing(sink := Sink(answers={"RCPT": None})) as mailer:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await mailer.send(mail("4f.1.1"))
        sink.answers.clear()
        await mailer.send(mail("4f.2.1"))

    assert [one.id for one in sink.mails] == ["<twelvefold.4f.2.1@academy.example>"]


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail", SMTPServer("mail", 25)),
        ("smtp://mail:2525", SMTPServer("mail", 2525)),
        ("smtp://a:b@mail", SMTPServer("mail", 587, starttls=True, user="a", password="b")),
        ("smtps://a@mail", SMTPServer("mail", 465, tls=True, starttls=False, user="a")),
        ("smtp://[::1]/?starttls=off", SMTPServer("::1", 25, starttls=False)),
        (
            "smtp://a%40b.org:c%2Fd@mail?starttls=offered",
            SMTPServer("mail", 587, user="a@b.org", password="c/d"),
        ),
    ],
)
def test_a_url_is_parsed(url: str, server: SMTPServer) -> None:
    assert SMTPServer.parse(url) == server


@pytest.mark.parametrize("url", ["smtp://h?starttls=maybe", "smtp://h?tls=1", "smtp://h/path"])
def test_an_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(SettingsError, match="SMTP_URL: after the port"):
        open_mailer(smtp_url=url, mail_from="office@academy.example")


def test_a_password_is_not_in_the_repr() -> None:
    assert "secret" not in repr(SMTPServer.parse("smtp://academy:secret@mail"))
