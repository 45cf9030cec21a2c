"""What is answered when a question cannot be."""

from __future__ import annotations

from http import HTTPStatus

from tornado.web import HTTPError


class ProblemError(HTTPError):
    """An error with a sentence for whoever asked.

    Parameters
    ----------
    status : HTTPStatus
    detail : str
        What is wrong, and what to do.
    retry_after : int or None
        Seconds after which the same question may be answered.
    """

    def __init__(self, status: HTTPStatus, detail: str, retry_after: int | None = None) -> None:
        super().__init__(status)
        self.detail = detail
        self.retry_after = retry_after
