"""The attached mail server: `smtp` connects to one, `memory` replaces it in tests."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twelvefold.secret_file import SecretFile
    from twelvefold.services.mail.smtp import SMTPMailer


def open_mailer(
    *, smtp_url: str, mail_from: str, password: "SecretFile | None" = None
) -> "SMTPMailer":
    """Return the mailer for the settings. It connects for its first mail.

    `smtp_url` is `smtp://` or `smtps://user:password@host:port?starttls=…`; `password` replaces its
    password. Raises SettingsError if the URL, the sender or the file of the password is invalid.
    """
    from twelvefold.services.mail.message import parse_sender
    from twelvefold.services.mail.smtp import SMTPMailer, SMTPServer

    return SMTPMailer(SMTPServer.parse(smtp_url, password), parse_sender(mail_from))
