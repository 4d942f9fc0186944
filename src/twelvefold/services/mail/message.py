"""A mail as the bytes that go over the wire, and its envelope. No I/O.

What a model or a user wrote gets into one header or one body and nowhere else: a line's end in an
address or a subject is refused, not repaired.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.errors import MessageError, NonASCIILocalPartDefect
from email.headerregistry import Address, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Any

from twelvefold.core.ports import Mail
from twelvefold.errors import MailRejected, SettingsError

# Encoded bodies, because a server need not take bytes over 127 nor long lines.
_PLAIN = SMTP.clone(cte_type="7bit")
_HEADERS = HeaderRegistry()
_ID = re.compile(r"\w+(\.\w+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A mail on its way: between whom, and what. `utf8` needs a server with SMTPUTF8."""

    sender: str
    recipient: str
    content: bytes
    utf8: bool = False


def sender(text: str) -> Address:
    """MAIL_FROM as an address: `academy@example.org` or `Academy <academy@example.org>`.

    Raises SettingsError.
    """
    if not text:
        raise SettingsError("MAIL_FROM: is not set, though SMTP_URL is; mail needs a sender")
    try:
        found = _address(text)
    except ValueError as error:
        raise SettingsError(f"MAIL_FROM: {text!r}: {error}") from error
    if not found.addr_spec.isascii():
        raise SettingsError(f"MAIL_FROM: {text!r}: use an address in ASCII")
    return found


def message_id(mail: Mail, sender: Address) -> str:
    """The Message-ID: the same however often the mail is sent. Source: RFC 5322, 3.6.4.

    Raises ValueError for an id that is no part of one.
    """
    if not _ID.fullmatch(mail.id):
        raise ValueError(f"{mail.id!r} is no id")
    return f"<twelvefold.{mail.id}@{sender.domain}>"


def enveloped(mail: Mail, sender: Address) -> Envelope:
    """The mail as it is sent. Raises MailRejected for what can be no mail, whoever is asked."""
    try:
        recipient = _address(mail.to)
        utf8 = not recipient.addr_spec.isascii()
        # In front, because the library would fold it: some servers lose an id that is.
        named = f"Message-ID: {message_id(mail, sender)}\r\n".encode()
        message = _message(mail, sender, recipient)
        content = named + message.as_bytes(policy=_PLAIN.clone(utf8=utf8))
    except (ValueError, LookupError, MessageError) as error:
        raise MailRejected(f"mail {mail.id} cannot be written: {error}").loggable(
            f"the mail cannot be written: {type(error).__name__}"
        ) from error
    return Envelope(sender.addr_spec, recipient.addr_spec, content, utf8)


def _message(mail: Mail, sender: Address, recipient: Address) -> EmailMessage:
    message = EmailMessage(_PLAIN)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = _one_line(mail.subject)
    message["Date"] = formatdate(usegmt=True)
    # An encoded word is read back as what it stands for, which may be a line's end.
    for name in ("From", "To", "Subject"):
        _one_line(str(message[name]))
    # No out-of-office reply is wanted. Source: RFC 3834, 5.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    if mail.html:
        message.add_alternative(mail.html, subtype="html")
    return message


def _address(text: str) -> Address:
    """Exactly one address, with or without a name. Raises ValueError."""
    # Typed as the plain header that every other name gets.
    header: Any = _HEADERS("To", _one_line(text))
    found: Sequence[Address] = header.addresses
    named = [group for group in header.groups if group.display_name]
    # A name beyond ASCII is an address still; which servers take it is theirs to say.
    wrong = [one for one in header.defects if not isinstance(one, NonASCIILocalPartDefect)]
    if wrong or named or len(found) != 1:
        raise ValueError(f"{text!r} is not one mail address")
    one = found[0]
    if not one.username or not one.domain or " " in one.addr_spec:
        raise ValueError(f"{text!r} is not one mail address")
    return Address(one.display_name, one.username, _ascii_domain(one.domain))


def _ascii_domain(domain: str) -> str:
    """A domain as DNS has it. Raises ValueError (UnicodeError is one)."""
    return domain if domain.isascii() else domain.encode("idna").decode()


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} holds a line's end or another character that no header may")
    return text
