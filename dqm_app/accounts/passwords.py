"""Hashes and checks passwords: argon2id, with the parameters that argon2-cffi recommends."""

from __future__ import annotations

import functools
import unicodedata
from importlib import resources

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dqm_app.accounts.errors import WeakPassword

SHORTEST = 12
LONGEST = 200
"""Characters; a longer one is no safer, and hashing it costs."""
_FEWEST_DIFFERENT = 5
_FEWEST_MORE = 4
"""Different signs that a password must have besides digits and what is guessed first."""
_DISGUISES = str.maketrans("013457@$!|+", "oleastasilt")
"""Signs that stand for letters."""
_BETWEEN = frozenset(" -_.,;:")
_CONTROL = frozenset({"Cc", "Cs"})
"""Categories of what no form sends as it is: control characters, and bytes that are no UTF-8."""


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
        Too short, too long, of few characters, with some that nobody can type, or made of words
        that are guessed first, of digits and the name. NIST SP 800-63B, 5.1.1.2, has at least 8
        characters, no rules of kinds of characters, and asks for a list of passwords that are
        commonly used, expected (the name, the service and what derives from them) or made of rows
        and repetitions; it also names those of earlier breaches, of which only the most frequent
        are in our list.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPassword(
            f"a password has {SHORTEST} to {LONGEST} characters, this one {len(password)}: take "
            "some words"
        )
    if any(unicodedata.category(sign) in _CONTROL for sign in password):
        raise WeakPassword("the password has control characters, or is not UTF-8: take some words")
    if len(set(password)) < _FEWEST_DIFFERENT:
        raise WeakPassword("the password repeats a few characters: take some words")
    if _is_guessed_first(password, name):
        raise WeakPassword(
            "the password is little more than digits, a name and words that are guessed first: "
            "take some words that have nothing to do with it"
        )


def _is_guessed_first(password: str, name: str) -> bool:
    plain = unicodedata.normalize("NFKC", password).casefold()
    words = sorted({*_guessed_first(), name.casefold()}, key=len, reverse=True)
    for rest in (plain, plain.translate(_DISGUISES)):
        for word in words:
            rest = rest.replace(word, " ")
        more = {sign for sign in rest if not sign.isdigit() and sign not in _BETWEEN}
        if len(more) < _FEWEST_MORE:
            return True
    return False


@functools.cache
def _guessed_first() -> frozenset[str]:
    text = resources.files("dqm_app").joinpath("data/guessed_first.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


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
