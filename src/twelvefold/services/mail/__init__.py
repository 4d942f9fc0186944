"""The attached mail server: `smtp` speaks to one, `memory` is its double for tests."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twelvefold.services.mail.smtp import SMTPMailer


def open_mailer(*, smtp_url: str, mail_from: str) -> "SMTPMailer":
    """The mailer that the settings name; nothing is connected before its first mail.

    `smtp_url` is `smtp://` or `smtps://user:password@host:port?starttls=…`, see `smtp.Server`.
    Raises SettingsError if it or the sender cannot be used.
    """
    from twelvefold.services.mail.message import sender
    from twelvefold.services.mail.smtp import Server, SMTPMailer

    return SMTPMailer(Server.parse(smtp_url), sender(mail_from))
