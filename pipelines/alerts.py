"""Telling people by mail or webhook, as [alerts] in kanal.toml says.

Belongs here: sending. Not here: what is worth telling, and when (defs/watch.py). Texts come from
callers and carry no message text and no secret; errors name the server, never an address or a key.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from pipelines.errors import KanalError, PermanentError, TransientError
from pipelines.settings import Alerts, secret

_WAIT = 20.0
_IMPLICIT_TLS = 465
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def anybody(alerts: Alerts) -> bool:
    """Whether anybody would be told."""
    return bool(alerts.webhook_env or (alerts.smtp_host and alerts.recipients))


def tell(alerts: Alerts, subject: str, text: str) -> list[KanalError]:
    """Send to the webhook and to the recipients, whichever are set; returns why one of two ways failed.

    Raises TransientError (send again later) or PermanentError (settings are wrong) where nobody was told.
    """
    ways: list[Callable[[], None]] = []
    if alerts.webhook_env:
        ways.append(lambda: _post(secret(alerts.webhook_env, what="alerts.webhook_env"), f"{subject}\n{text}"))
    if alerts.smtp_host and alerts.recipients:
        ways.append(lambda: _mail(alerts, str(alerts.smtp_host), subject, text))
    failed: list[KanalError] = []
    for send in ways:
        try:
            send()
        except (TransientError, PermanentError) as error:
            failed.append(error)
    if failed and len(failed) == len(ways):
        raise failed[0] from None
    return failed


def _post(url: str, text: str) -> None:
    """One JSON object {"text": ...}, as Slack, Mattermost and Google Chat take it."""
    import requests  # a tenth of a second that no run should pay

    try:
        answer = requests.post(url, json={"text": text}, timeout=_WAIT, allow_redirects=False)
    except requests.RequestException as error:  # its words hold the URL, which is a secret
        raise TransientError(f"alerts: the webhook cannot be reached ({type(error).__name__})") from None
    if answer.status_code >= 500 or answer.status_code == 429:
        raise TransientError(f"alerts: the webhook answered {answer.status_code}")
    if not answer.ok or answer.is_redirect:
        raise PermanentError(f"alerts: the webhook answered {answer.status_code}; check alerts.webhook_env")


def _mail(alerts: Alerts, host: str, subject: str, text: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = alerts.sender, ", ".join(alerts.recipients), subject
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain="kanal.invalid")
    mail["Auto-Submitted"] = "auto-generated"  # keeps away replies of people on holiday
    mail.set_content(text)
    where = f"alerts: mail server {host}:{alerts.smtp_port}"
    try:
        with _connect(alerts, host) as server:
            _log_in(server, alerts, host)
            server.send_message(mail)
    except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as error:
        raise PermanentError(f"{where} refuses the login ({type(error).__name__}); check [alerts]") from None
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused) as error:
        raise PermanentError(f"{where} refuses an address ({type(error).__name__}); check from and to") from None
    except (smtplib.SMTPException, OSError) as error:
        raise TransientError(f"{where} does not take the mail ({type(error).__name__})") from None


def _connect(alerts: Alerts, host: str) -> smtplib.SMTP:
    if alerts.smtp_port == _IMPLICIT_TLS:
        return smtplib.SMTP_SSL(host, alerts.smtp_port, timeout=_WAIT, context=ssl.create_default_context())
    return smtplib.SMTP(host, alerts.smtp_port, timeout=_WAIT)


def _log_in(server: smtplib.SMTP, alerts: Alerts, host: str) -> None:
    server.ehlo()
    encrypted = alerts.smtp_port == _IMPLICIT_TLS
    if not encrypted and server.has_extn("starttls") and host not in _LOOPBACK:
        server.starttls(context=ssl.create_default_context())
        server.ehlo()
        encrypted = True
    if not alerts.smtp_user_env:
        return
    if not encrypted and host not in _LOOPBACK:
        raise PermanentError(f"alerts: mail server {host} offers no TLS, so the password is not sent; use port 465")
    user = secret(alerts.smtp_user_env, what="alerts.smtp_user_env")
    server.login(user, secret(alerts.smtp_password_env, what="alerts.smtp_password_env"))
