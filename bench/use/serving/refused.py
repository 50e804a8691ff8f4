"""What a client is told that gets no result."""

from __future__ import annotations

BAD, UNAUTHORIZED, NOT_FOUND, NOT_ALLOWED, TOO_SLOW, TOO_LARGE = 400, 401, 404, 405, 408, 413
INVALID, FAILED, OVERLOADED, LEFT, INTERNAL, UNHEALTHY = 422, 424, 429, 499, 500, 503


class Refused(Exception):
    """A request that is not answered: the ``status`` of HTTP, TEI's ``kind`` of error, and the ``reason``."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason = status, kind, reason


def invalid(reason: str) -> Refused:
    """A request with a field that is missing or wrong."""
    return Refused(INVALID, "Validation", reason)


def too_large(reason: str) -> Refused:
    """A request with more than the server takes at once."""
    return Refused(TOO_LARGE, "Validation", reason)
