"""Encoding of a mail: headers, body, Message-ID, and protection against header injection."""

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from twelvefold.core.ports import Mail
from twelvefold.errors import MailRejected, SettingsError
from twelvefold.services.mail.message import build_envelope, parse_sender

ACADEMY = parse_sender("The Academy <office@academy.example>")


def mail(to: str = "ann@example.org", **fields: str) -> Mail:
    return Mail("4f.7.1", to, **{"subject": "Welcome", "text": "You are in.\n", **fields})


def read(mail: Mail) -> EmailMessage:
    return parsed(build_envelope(mail, ACADEMY).content)


def parsed(content: bytes) -> EmailMessage:
    return message_from_bytes(content.replace(b"\r\n", b"\n"), policy=policy.default)


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content


def test_a_mail_has_its_headers_and_its_text() -> None:
    message = read(mail())

    assert message["From"] == "The Academy <office@academy.example>"
    assert message["To"] == "ann@example.org"
    assert message["Subject"] == "Welcome"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"] is not None
    assert message.get_content_type() == "text/plain"
    assert text_of(message, "plain") == "You are in.\n"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",) * 2,
        ("", None),
        ("00-x\r\nBcc: eve@example.org", None),
    ],
)
def test_a_mail_has_the_span_of_its_call(given: str, sent: str | None) -> None:
    message = read(mail(traceparent=given))

    assert (message["traceparent"], message["Bcc"]) == (sent, None)


def test_the_message_id_depends_on_the_mails_id_only() -> None:
    assert read(mail())["Message-ID"] == "<twelvefold.4f.7.1@academy.example>"
    assert read(mail(text="again"))["Message-ID"] == read(mail())["Message-ID"]


def test_a_long_message_id_is_not_folded() -> None:
    long = f"{'4f' * 22}.1234567.1"

    content = build_envelope(Mail(long, "ann@example.org", "Hi", ""), ACADEMY).content

    assert f"Message-ID: <twelvefold.{long}@academy.example>\r\n".encode() in content


def test_an_id_with_invalid_characters_is_rejected() -> None:
    with pytest.raises(MailRejected, match="is not a valid id"):
        build_envelope(Mail("4f>\r\nBcc: eve@example.org", "ann@example.org", "Hi", ""), ACADEMY)


def test_html_is_an_alternative_to_the_text() -> None:
    message = read(mail(html="<p>You are <b>in</b>.</p>"))

    assert message.get_content_type() == "multipart/alternative"
    assert text_of(message, "plain") == "You are in.\n"
    assert text_of(message, "html") == "<p>You are <b>in</b>.</p>\n"


def test_any_text_is_encoded_in_seven_bits() -> None:
    sent = mail(
        to="Zoë <zoe@example.org>",
        subject="Grüße, 世界 " * 20,
        text="naïve café\n" + "long " * 400 + "\n.\nFrom here\n",
        html="<p>€</p>" * 500,
    )

    content = build_envelope(sent, ACADEMY).content
    message = parsed(content)

    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert message["Subject"] == sent.subject
    assert message["To"] == "Zoë <zoe@example.org>"
    assert text_of(message, "plain") == sent.text


def test_a_domain_is_encoded_as_in_dns() -> None:
    envelope = build_envelope(mail(to="ann@bücher.example"), ACADEMY)

    assert (envelope.recipient, envelope.utf8) == ("ann@xn--bcher-kva.example", False)


def test_a_non_ascii_local_part_requires_smtputf8() -> None:
    envelope = build_envelope(mail(to="zoë@example.org"), ACADEMY)

    assert (envelope.recipient, envelope.utf8) == ("zoë@example.org", True)
    assert "To: zoë@example.org\r\n".encode() in envelope.content


@pytest.mark.parametrize(
    "fields",
    [
        {"to": "ann@example.org\r\nBcc: eve@example.org"},
        {"to": "ann@example.org\nBcc: eve@example.org"},
        {"to": "ann@example.org\x00"},
        {"to": "ann@example.org, eve@example.org"},
        {"to": "all: ann@example.org, eve@example.org;"},
        {"to": "ann"},
        {"to": ""},
        {"to": "ann example.org"},
        {"to": "<ann@example.org> SIZE=1"},
        {"to": '"Ann\r\n" <ann@example.org>'},
        {"subject": "Hi\r\nBcc: eve@example.org"},
        {"subject": "Hi\rBcc: eve@example.org"},
        {"subject": "Hi\u2028Bcc: eve@example.org"},
        {"subject": "=?utf-8?q?Hi=0D=0ABcc:_eve@example.org=0D=0A=0D=0APay?="},
        {"subject": "=?utf-8?b?SGkKUGF5?="},
        {"to": "=?utf-8?q?Ann=0D=0ABcc:_eve@example.org?= <ann@example.org>"},
    ],
)
def test_header_injection_is_rejected(fields: dict[str, str]) -> None:
    with pytest.raises(MailRejected, match=r"mail 4f\.7\.1 cannot be encoded"):
        build_envelope(mail(**fields), ACADEMY)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "MAIL_FROM: is not set, though SMTP_URL is"),
        ("academy", "'academy' is not one mail address"),
        ("a@b.org, c@d.org", "is not one mail address"),
        ("zoë@example.org", "use an address in ASCII"),
    ],
)
def test_an_invalid_sender_is_reported(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        parse_sender(text)
