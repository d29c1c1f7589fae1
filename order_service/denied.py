"""Denied: we said no, before anything was journaled or sent.

Rejected is the venue's word (house style). A Denied names its reason, tells the whole story
and carries details for programs; the servicer turns it into a status.
"""

from enum import Enum


class Kind(Enum):
    """What the caller can do about it."""

    BAD_ARGUMENT = "the request is wrong as it stands"
    NOT_FOUND = "something it names does not exist"
    REUSED = "the request id was used for something else"
    PRECONDITION = "not as things are; ask again when they have changed"
    EXHAUSTED = "too much at once; ask again later"
    UNAVAILABLE = "cannot be decided now; ask again later"


class Denied(Exception):
    """No order exists by this request, and its id is unused."""

    def __init__(self, kind: Kind, reason: str, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.reason = reason
        self.message = message
        self.metadata = metadata


class JournalFailed(Exception):
    """A commit failed: nothing of its batch happened, and the books were rebuilt from the disk."""


class TakenOver(JournalFailed):
    """A younger instance writes this journal now: this one never will again (architecture 11)."""
