"""Hashes and checks passwords: argon2id, with the parameters that argon2-cffi recommends."""

from __future__ import annotations

import functools

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dqm_app.accounts.errors import WeakPassword

SHORTEST = 12
LONGEST = 200
"""Characters; a longer one is no safer, and hashing it costs."""
_FEWEST_DIFFERENT = 5


@functools.cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@functools.cache
def _nobodys() -> str:
    """A hash to check for who is no user: that must take as long as a wrong password."""
    return _hasher().hash("the password of nobody")


def check(password: str, name: str) -> None:
    """Refuse what nobody called *name* should have as a password.

    Raises
    ------
    WeakPassword
        Too short, too long, of too few characters, or made of the name (NIST SP 800-63B, 5.1.1.2,
        asks for length and nothing of kinds of characters).
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPassword(
            f"a password has {SHORTEST} to {LONGEST} characters, this one {len(password)}: take "
            "some words"
        )
    if len(set(password)) < _FEWEST_DIFFERENT:
        raise WeakPassword("the password repeats a few characters: take some words")
    if password.casefold().replace(name.casefold(), "").strip(" 0123456789-_.") == "":
        raise WeakPassword(f"the password is little more than the name {name!r}: take some words")


def hashed(password: str, name: str) -> str:
    """The hash that is stored for the user *name*; takes some 50 ms. Raises as `check`."""
    check(password, name)
    return _hasher().hash(password)


def hashed_again(password: str) -> str:
    """The hash with today's parameters of a password that was accepted before."""
    return _hasher().hash(password)


def is_right(stored: str | None, password: str) -> bool:
    """Whether *password* is the one of the hash *stored*; takes as long when that is None."""
    try:
        _hasher().verify(_nobodys() if stored is None else stored, password[: LONGEST + 1])
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def is_outdated(stored: str) -> bool:
    """Whether the hash should be made again, since today's parameters are other ones."""
    return _hasher().check_needs_rehash(stored)
