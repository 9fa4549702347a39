"""Telling the administrators about a failure, at most a handful an hour."""

from __future__ import annotations

import traceback

from flask import current_app, has_request_context, request

from microsite.core.db import atomic
from microsite.core.exceptions import DomainError
from microsite.core.mailer import send_mail
from microsite.core.throttle import Throttle

REPORTS = Throttle("error mails", "5 per hour")


def report_failure(reference: str, error: Exception) -> bool:
    """Queue a mail to ADMINS; True when it was queued and a mail server is there to take it."""
    admins = current_app.config["ADMINS"]
    if not admins:
        return False
    try:
        REPORTS.spend()
        where = f"{request.method} {request.url_rule}" if has_request_context() else "a background job"
        trace = "".join(traceback.format_exception(error))[-8000:]
        with atomic(despite_get="error report"):
            for address in admins:
                send_mail(
                    address, f"Failure {reference}", "errors/mail.txt",
                    reference=reference, where=where, trace=trace,
                )  # fmt: skip
    except DomainError:
        return False  # the handful of this hour is used up
    except Exception:
        current_app.logger.exception("the failure %s could not be reported", reference)
        return False
    return bool(current_app.config["MAIL_SERVER"])
