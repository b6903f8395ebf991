"""Errors grouped by what to do about them: wait, stop, or set one message aside.

Put here every exception Kanal raises on purpose. Not here: handling. Each message names the
stream or file, what happened and what to do, in words that carry no message text and no secret.
"""


class KanalError(Exception):
    """Base of all errors a person may read; `str(error)` is fit for a terminal or an alert."""


class TransientError(KanalError):
    """Wait and try again: a server is busy, a network is down, a lock is held.

    `retry_after` is in seconds, where the other side said when.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(KanalError):
    """Stop this stream or command: only a person can mend it (credentials, settings, quota)."""


class SettingsError(PermanentError):
    """kanal.toml, a mapping or the environment is wrong; the message says which key and why."""


class RejectedMessage(KanalError):  # noqa: N818 - it is data: one message set aside, the rest goes on
    """Set this one message aside in quarantine, with a reason a clerk understands."""

    def __init__(self, reason: str, *, stage: str = "decode") -> None:
        super().__init__(reason)
        self.reason = reason
        self.stage = stage


class FilteredMessage(KanalError):  # noqa: N818 - it is data, as above
    """Not a citizen's utterance: own reply, repost, bounce or spam, and nothing else."""

    REASONS = ("own_reply", "repost", "bounce", "auto_reply", "spam")

    def __init__(self, reason: str, detail: str = "") -> None:
        if reason not in self.REASONS:
            raise ValueError(f"unknown filter reason {reason!r}; one of {self.REASONS}")
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
