"""A mail as bytes: what it says, what it is called, and what gets into no header."""

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from twelvefold.core.ports import Mail
from twelvefold.errors import MailRejected, SettingsError
from twelvefold.services.mail.message import enveloped, sender

ACADEMY = sender("The Academy <office@academy.example>")


def mail(to: str = "ann@example.org", **fields: str) -> Mail:
    return Mail("4f.7.1", to, **{"subject": "Welcome", "text": "You are in.\n", **fields})


def read(mail: Mail) -> EmailMessage:
    return parsed(enveloped(mail, ACADEMY).content)


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


def test_the_message_id_comes_from_the_letter_alone() -> None:
    assert read(mail())["Message-ID"] == "<twelvefold.4f.7.1@academy.example>"
    assert read(mail(text="again"))["Message-ID"] == read(mail())["Message-ID"]


def test_a_message_id_stays_on_its_line_however_long_it_is() -> None:
    long = f"{'4f' * 22}.1234567.1"

    content = enveloped(Mail(long, "ann@example.org", "Hi", ""), ACADEMY).content

    assert f"Message-ID: <twelvefold.{long}@academy.example>\r\n".encode() in content


def test_an_id_that_is_no_part_of_a_message_id_is_refused() -> None:
    with pytest.raises(MailRejected, match="is no id"):
        enveloped(Mail("4f>\r\nBcc: eve@example.org", "ann@example.org", "Hi", ""), ACADEMY)


def test_html_is_an_alternative_to_the_text() -> None:
    message = read(mail(html="<p>You are <b>in</b>.</p>"))

    assert message.get_content_type() == "multipart/alternative"
    assert text_of(message, "plain") == "You are in.\n"
    assert text_of(message, "html") == "<p>You are <b>in</b>.</p>\n"


def test_any_text_goes_out_as_seven_bits() -> None:
    said = mail(
        to="Zoë <zoe@example.org>",
        subject="Grüße, 世界 " * 20,
        text="naïve café\n" + "long " * 400 + "\n.\nFrom here\n",
        html="<p>€</p>" * 500,
    )

    content = enveloped(said, ACADEMY).content
    message = parsed(content)

    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert message["Subject"] == said.subject
    assert message["To"] == "Zoë <zoe@example.org>"
    assert text_of(message, "plain") == said.text


def test_a_domain_goes_out_as_dns_has_it() -> None:
    envelope = enveloped(mail(to="ann@bücher.example"), ACADEMY)

    assert (envelope.recipient, envelope.utf8) == ("ann@xn--bcher-kva.example", False)


def test_a_name_beyond_ascii_needs_a_server_that_takes_it() -> None:
    envelope = enveloped(mail(to="zoë@example.org"), ACADEMY)

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
def test_nothing_gets_into_a_header_that_is_not_its_own(fields: dict[str, str]) -> None:
    with pytest.raises(MailRejected, match=r"mail 4f\.7\.1 cannot be written"):
        enveloped(mail(**fields), ACADEMY)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "MAIL_FROM: is not set, though SMTP_URL is"),
        ("academy", "'academy' is not one mail address"),
        ("a@b.org, c@d.org", "is not one mail address"),
        ("zoë@example.org", "use an address in ASCII"),
    ],
)
def test_a_sender_that_is_no_address_is_told(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        sender(text)
