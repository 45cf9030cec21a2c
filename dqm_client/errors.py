"""What a dashboard answers when something is wrong."""

from __future__ import annotations


class ApiError(Exception):
    """A dashboard refused, or could not do, what it was asked.

    Attributes
    ----------
    status : int
        HTTP status; 0 when there was no answer at all, or a wrong one.
    detail : str
        What is wrong.
    retry_after : float or None
        Seconds after which the dashboard wants to be asked again.
    """

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {detail}" if status else detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after

    @property
    def may_pass(self) -> bool:
        """Whether another try may succeed: there was no answer, or too much was asked."""
        return self.status in (0, 429, 502, 503, 504)
