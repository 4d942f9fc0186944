"""The SMTP client beside a server: what gets through, how, and what an answer means."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.smtp_sink import Sink
from twelvefold.core.ports import Mail
from twelvefold.errors import MailRejected, MailUnavailable, SettingsError
from twelvefold.services.mail import open_mailer
from twelvefold.services.mail.message import sender
from twelvefold.services.mail.smtp import Server, SMTPMailer

ACADEMY = sender("office@academy.example")


def mail(id: str = "4f.7.1", to: str = "ann@example.org", text: str = "You are in.\n") -> Mail:
    return Mail(id, to, "Welcome", text)


@asynccontextmanager
async def mailing(
    sink: Sink, query: str = "", *, login: str = "", tls: ssl.SSLContext | None = None
) -> AsyncIterator[SMTPMailer]:
    async with sink.serving():
        mailer = SMTPMailer(Server.parse(sink.url(query, login=login)), ACADEMY, tls)
        try:
            yield mailer
        finally:
            await mailer.close()


async def test_a_mail_gets_through_whole() -> None:
    text = "Dear Ann,\n.\n..\nyou are in.\n"

    async with mailing(sink := Sink()) as mailer:
        await mailer.send(mail(text=text))

    (received,) = sink.mails
    assert (received.sender, received.recipient) == ("office@academy.example", "ann@example.org")
    assert received.id == "<twelvefold.4f.7.1@academy.example>"
    assert received.message.get_content() == text


async def test_a_connection_is_used_again() -> None:
    async with mailing(sink := Sink()) as mailer:
        for number in range(5):
            await mailer.send(mail(f"4f.{number}.1"))

    assert (len(sink.mails), sink.connections) == (5, 1)
    assert sink.heard[-1] == "QUIT"


async def test_mails_that_are_under_way_at_once_have_connections_of_their_own() -> None:
    async with mailing(sink := Sink()) as mailer:
        await asyncio.gather(*(mailer.send(mail(f"4f.{number}.1")) for number in range(6)))

    assert len({one.id for one in sink.mails}) == 6


async def test_a_connection_that_the_server_has_closed_is_made_anew() -> None:
    async with mailing(sink := Sink()) as mailer:
        await mailer.send(mail("4f.1.1"))
        sink.answers["RSET"] = "421 idle for too long"
        await mailer.send(mail("4f.2.1"))

    assert (len(sink.mails), sink.connections) == (2, 2)


async def test_starttls_is_used_where_it_is_offered(
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


async def test_a_certificate_that_nobody_knows_is_not_taken(servers_tls: ssl.SSLContext) -> None:
    async with mailing(sink := Sink(tls=servers_tls)) as mailer:
        with pytest.raises(MailUnavailable, match=r"(?i)certificate"):
            await mailer.send(mail())

    assert sink.mails == []


async def test_a_login_is_made_over_tls(
    servers_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    sink = Sink(tls=servers_tls, login=("academy", "secret"))

    async with mailing(sink, login="academy:secret", tls=trusting) as mailer:
        await mailer.send(mail())

    assert (sink.mails[0].over_tls, sink.mails[0].user) == (True, "academy")


async def test_a_password_is_not_told_to_a_server_that_offers_no_tls() -> None:
    async with mailing(sink := Sink(login=("academy", "secret")), login="academy:secret") as mailer:
        with pytest.raises(MailUnavailable, match=r"(?i)starttls"):
            await mailer.send(mail())

    assert not any("AUTH" in line for line in sink.heard)


async def test_a_password_is_told_in_the_clear_to_who_asked_for_that() -> None:
    sink = Sink(login=("academy", "secret"))

    async with mailing(sink, "?starttls=off", login="academy:secret") as mailer:
        await mailer.send(mail())

    assert sink.mails[0].user == "academy"


async def test_starttls_may_be_required_without_a_login() -> None:
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
async def test_what_the_server_says_of_the_mail_for_good_is_its_end(verb: str, answer: str) -> None:
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
async def test_what_may_pass_or_is_the_operators_to_mend_leaves_the_mail_waiting(
    verb: str, answer: str
) -> None:
    async with mailing(Sink(answers={verb: answer})) as mailer:
        with pytest.raises(MailUnavailable):
            await mailer.send(mail())


async def test_a_wrong_password_leaves_the_mail_waiting_and_is_not_told() -> None:
    sink = Sink(login=("academy", "other"))

    async with mailing(sink, "?starttls=off", login="academy:secret") as mailer:
        with pytest.raises(MailUnavailable, match="535 no such login") as raised:
            await mailer.send(mail())

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "RCPT", "DATA", "."])
async def test_a_server_that_falls_silent_is_not_waited_for(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twelvefold.services.mail.smtp.ANSWER_S", 0.1)

    async with mailing(Sink(answers={verb: None})) as mailer:
        with pytest.raises(MailUnavailable):
            await mailer.send(mail())


async def test_a_server_that_is_not_there_leaves_the_mail_waiting() -> None:
    mailer = SMTPMailer(Server("localhost", 9), ACADEMY)

    with pytest.raises(MailUnavailable, match="no connection to the mail server localhost:9"):
        await mailer.send(mail())


async def test_after_a_refusal_the_next_mail_gets_through() -> None:
    async with mailing(sink := Sink(answers={"RCPT": "550 no such user"})) as mailer:
        with pytest.raises(MailRejected):
            await mailer.send(mail("4f.1.1"))
        sink.answers.clear()
        await mailer.send(mail("4f.2.1"))

    assert [one.id for one in sink.mails] == ["<twelvefold.4f.2.1@academy.example>"]


async def test_an_address_beyond_ascii_is_rejected_where_the_server_cannot() -> None:
    async with mailing(Sink(utf8=False)) as mailer:
        with pytest.raises(MailRejected, match="SMTPUTF8"):
            await mailer.send(mail(to="zoë@example.org"))


async def test_an_address_beyond_ascii_gets_through_where_the_server_can() -> None:
    async with mailing(sink := Sink()) as mailer:
        await mailer.send(mail(to="zoë@example.org"))

    assert sink.mails[0].recipient == "zoë@example.org"


async def test_a_mail_that_is_broken_off_leaves_no_connection_behind() -> None:
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
        ("smtp://mail", Server("mail", 25)),
        ("smtp://mail:2525", Server("mail", 2525)),
        ("smtp://a:b@mail", Server("mail", 587, starttls=True, user="a", password="b")),
        ("smtps://a@mail", Server("mail", 465, tls=True, starttls=False, user="a")),
        ("smtp://[::1]/?starttls=off", Server("::1", 25, starttls=False)),
        (
            "smtp://a%40b.org:c%2Fd@mail?starttls=offered",
            Server("mail", 587, user="a@b.org", password="c/d"),
        ),
    ],
)
def test_a_url_says_all(url: str, server: Server) -> None:
    assert Server.parse(url) == server


@pytest.mark.parametrize("url", ["smtp://h?starttls=maybe", "smtp://h?tls=1", "smtp://h/path"])
def test_a_url_that_says_something_else_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="SMTP_URL: behind the port"):
        open_mailer(smtp_url=url, mail_from="office@academy.example")


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Server.parse("smtp://academy:secret@mail"))
