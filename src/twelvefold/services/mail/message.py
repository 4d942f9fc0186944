"""Encodes a mail as bytes with an envelope. No I/O.

Text of a model or a user cannot add headers: a line break in an address or a subject is rejected,
not removed.
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

from twelvefold.core import Mail
from twelvefold.core.trace_ids import SpanContext
from twelvefold.errors import MailRejected, SettingsError

# Encoded bodies, because a server may reject bytes over 127 and long lines.
_POLICY = SMTP.clone(cte_type="7bit")
_HEADERS = HeaderRegistry()
_ID = re.compile(r"\w+(\.\w+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Envelope:
    """An encoded mail with its addresses. `utf8` requires a server with SMTPUTF8."""

    sender: str
    recipient: str
    content: bytes
    utf8: bool = False


def parse_sender(text: str) -> Address:
    """Parse MAIL_FROM: `academy@example.org` or `Academy <academy@example.org>`.

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
    """Return the Message-ID, which is the same on each attempt. Source: RFC 5322, 3.6.4.

    Raises ValueError if the mail's id has invalid characters.
    """
    if not _ID.fullmatch(mail.id):
        raise ValueError(f"{mail.id!r} is not a valid id")
    return f"<twelvefold.{mail.id}@{sender.domain}>"


def build_envelope(mail: Mail, sender: Address) -> Envelope:
    """Encode a mail. Raises MailRejected if no server could accept it."""
    try:
        recipient = _address(mail.to)
        utf8 = not recipient.addr_spec.isascii()
        # Written here, because the library folds the header, and some servers lose a folded id.
        named = f"Message-ID: {message_id(mail, sender)}\r\n".encode()
        message = _message(mail, sender, recipient)
        content = named + message.as_bytes(policy=_POLICY.clone(utf8=utf8))
    except (ValueError, LookupError, MessageError) as error:
        raise MailRejected(f"mail {mail.id} cannot be encoded: {error}").loggable(
            f"the mail cannot be encoded: {type(error).__name__}"
        ) from error
    return Envelope(sender.addr_spec, recipient.addr_spec, content, utf8)


def _message(mail: Mail, sender: Address, recipient: Address) -> EmailMessage:
    message = EmailMessage(_POLICY)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = _one_line(mail.subject)
    message["Date"] = formatdate(usegmt=True)
    # Checked after decoding: an encoded word may contain a line break.
    for name in ("From", "To", "Subject"):
        _one_line(str(message[name]))
    # Suppresses out-of-office replies. Source: RFC 3834, 5.
    message["Auto-Submitted"] = "auto-generated"
    if SpanContext.parse(mail.traceparent):
        message["traceparent"] = mail.traceparent
    message.set_content(mail.text)
    if mail.html:
        message.add_alternative(mail.html, subtype="html")
    return message


def _address(text: str) -> Address:
    """Parse exactly one address, with or without a name. Raises ValueError."""
    # typeshed declares a header without `addresses`.
    header: Any = _HEADERS("To", _one_line(text))
    found: Sequence[Address] = header.addresses
    named = [group for group in header.groups if group.display_name]
    # A local part beyond ASCII is valid. The server decides whether it accepts one.
    defects = [one for one in header.defects if not isinstance(one, NonASCIILocalPartDefect)]
    if defects or named or len(found) != 1:
        raise ValueError(f"{text!r} is not one mail address")
    one = found[0]
    if not one.username or not one.domain or " " in one.addr_spec:
        raise ValueError(f"{text!r} is not one mail address")
    return Address(one.display_name, one.username, _ascii_domain(one.domain))


def _ascii_domain(domain: str) -> str:
    """Return the domain in ASCII as in DNS. Raises ValueError (or UnicodeError)."""
    return domain if domain.isascii() else domain.encode("idna").decode()


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} contains a line break or another character not allowed here")
    return text
