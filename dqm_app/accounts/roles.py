"""What somebody may do."""

from __future__ import annotations

import enum


@enum.unique
class Role(enum.IntEnum):
    """Each may do what those before it may.

    A viewer sees every page, and reads the API, also by programs with tokens of his own; an expert
    also takes files away; an admin also sees what was done under which name, and may let a monitor
    read the metrics. Users are added and changed on the host, by ``dqm user``.
    """

    VIEWER = 1
    EXPERT = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """As it is stored, typed and shown."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Role:
        """The role called *word*; raises `ValueError` for any other word."""
        for role in cls:
            if role.word == word:
                return role
        raise ValueError(f"{word!r} is no role; there are {', '.join(role.word for role in cls)}")
