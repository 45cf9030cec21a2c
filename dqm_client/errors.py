"""What a dashboard answers when something is wrong."""

from __future__ import annotations


class ApiError(Exception):
    """A dashboard refused, or could not do, what it was asked.

    Attributes
    ----------
    status : int
        HTTP status; 0 when there was no answer at all.
    detail : str
        What is wrong.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}" if status else detail)
        self.status = status
        self.detail = detail
