"""Which passwords may be used, and how they are stored."""

from __future__ import annotations

import pytest
from accounts_databases import PASSWORD, accounts, cheap_hashes, engine, postgres, url
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from dqm_app.accounts import passwords, users
from dqm_app.accounts.errors import WeakPassword
from dqm_app.accounts.roles import Role

__all__ = ["accounts", "cheap_hashes", "engine", "postgres", "url"]  # fixtures

pytestmark = pytest.mark.usefixtures("cheap_hashes")


@pytest.mark.parametrize(
    "password",
    ["", "short", "a" * 12, "abab" * 5, "x" * 201, "anna2026-2026", "Anna.Anna.Anna",
     "four words\0 of a test", "four words of a\ttest", "\udcff\udcfe words of a test"]
)  # fmt: skip
def test_weak_passwords(engine, password):
    with Session(engine) as session, pytest.raises(WeakPassword):
        users.add(session, "anna", password, Role.VIEWER)
    with Session(engine) as session:
        assert users.everybody(session) == []


@pytest.mark.parametrize(
    "password",
    ["passwordpassword", "qwertyuiop123", "Password12345", "nectarcam1234", "P@ssw0rd2026!!",
     "123456789012", "NectarCAM-DQM-2026", "Winter2026!!", "pa$$word-pa$$word",
     "ＰＡＳＳＷＯＲＤ1234", "anna-admin-2026", "!@#$%^&*()_+", "1qaz2wsx3edc", "iloveyou anna"]
)  # fmt: skip
def test_passwords_that_are_guessed_first(password):
    with pytest.raises(WeakPassword, match="guessed first"):
        passwords.check(password, "anna")


@pytest.mark.parametrize(
    "password",
    ["correct horse battery staple", "the camera sees blue light", "7$k!9#m@2&x4",
     "Zug um Zug ist es", "Ключ от квартиры", "a password of nobody else", "b8Hs-02kd-Lw91"]
)  # fmt: skip
def test_passwords_of_words_and_of_managers(password):
    passwords.check(password, "anna")


def test_words_that_are_guessed_first_are_small_letters():
    words = passwords._guessed_first()
    assert len(words) > 100 and {word.casefold().strip() for word in words} == words


@given(st.text(max_size=30), st.text(min_size=1, max_size=20))
def test_any_password_is_taken_or_refused_in_words(password, name):
    try:
        passwords.check(password, name)
    except WeakPassword as error:
        assert str(error).isprintable()
        assert len(password) < 2 or password not in str(error)


def test_a_password_is_stored_as_its_hash(accounts, engine):
    with Session(engine) as session:
        row = users.stored(session, "viewer")
        assert row.password.startswith("$argon2id$") and PASSWORD not in row.password


@given(st.text(max_size=300))
def test_no_other_password_is_right(password):
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    stored = hasher.hash(PASSWORD)
    assert passwords.is_right(stored, password) == (password == PASSWORD)
    assert not passwords.is_right(None, password)


def test_a_hash_that_is_none_lets_nobody_in():
    assert not passwords.is_right(None, "the password of nobody")  # which takes the time
    for stored in ("", "*", "plain", "$argon2id$v=19$nonsense"):
        assert not passwords.is_right(stored, stored)
