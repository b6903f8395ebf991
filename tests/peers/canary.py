"""What an error would tell: everything a log, an alert or a crash report could show of it."""

from __future__ import annotations

import traceback


def told_by(error: BaseException) -> str:
    """The error's text, its causes and contexts, and the locals of every frame they passed.

    The test's own frames, where it keeps the canary, are left out.
    """
    trace = error.__traceback__
    while trace and "/tests/" in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    error.__traceback__ = trace
    full = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(full.format()) + repr(error) + repr(error.__context__) + repr(error.__cause__)
