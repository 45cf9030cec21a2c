"""Cookies, where the login leads to, what browsers call themselves."""

from __future__ import annotations

import time
from http.cookies import SimpleCookie
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqm_app.login.browsers import browser_in_words
from dqm_app.login.cookies import Cookies
from dqm_app.login.next import is_within
from dqm_app.login.opening import bring_up_to_date
from dqm_app.login.pages import in_words

KEY = b"a key of the tests"


class Browser:
    """Stands for a handler of Tornado: keeps the cookies that are set."""

    def __init__(self, protocol: str = "https") -> None:
        self.request: Any = SimpleNamespace(protocol=protocol, cookies=SimpleCookie())
        self.set: dict[str, dict[str, Any]] = {}

    def set_cookie(self, name: str, value: bytes, **how: Any) -> None:
        self.set[name] = how
        self.request.cookies[name] = value.decode()


@pytest.mark.parametrize("protocol", ["http", "https"])
def test_a_session_comes_back(protocol):
    browser, cookies = Browser(protocol), Cookies(KEY)
    assert cookies.session(browser.request) is None
    ends = time.time() + 60
    cookies.set_session(browser, "secret", ends)
    assert cookies.session(browser.request) == "secret"
    [(name, how)] = browser.set.items()
    assert name.startswith("__Host-") == how["secure"] == (protocol == "https")
    assert (how["path"], how["httponly"], how["samesite"]) == ("/", True, "Lax")
    assert how["expires"] > ends + 86_400  # so that the user can be told that it has ended
    assert Cookies(b"another key").session(browser.request) is None
    cookies.clear_session(browser)
    assert not cookies.session(browser.request)
    assert browser.set[name]["expires"] < time.time()


@given(st.text(max_size=200))
def test_no_cookie_that_somebody_wrote_is_taken(text):
    browser = Browser()
    for name in ("__Host-dqm-session", "__Host-dqm-device"):
        browser.request.cookies[name] = text
    assert Cookies(KEY).session(browser.request) is None
    assert Cookies(KEY).device(browser.request, "anna") is None


def test_a_browser_is_known_to_those_who_have_logged_in_with_it():
    browser, cookies = Browser(), Cookies(KEY)
    cookies.remember_device(browser, "Anna")
    device = cookies.device(browser.request, "anna")
    assert device is not None and cookies.device(browser.request, "bruno") is None
    cookies.remember_device(browser, "bruno")
    assert cookies.device(browser.request, "bruno") == device
    assert cookies.device(browser.request, "anna") == device
    for number in range(8):
        cookies.remember_device(browser, f"guest{number}")
    assert cookies.device(browser.request, "anna") is None  # the browser of a control room
    assert len(browser.request.cookies["__Host-dqm-device"].value) < 1000


def test_the_cookie_of_a_device_is_no_session():
    browser, cookies = Browser(), Cookies(KEY)
    cookies.remember_device(browser, "anna")
    value = browser.request.cookies["__Host-dqm-device"].value
    browser.request.cookies["__Host-dqm-session"] = value
    assert cookies.session(browser.request) is None


@given(st.one_of(st.text(max_size=50), st.text("/\\.:@?# ab\t\r\n", max_size=12).map("/".__add__)))
def test_what_is_within_is_of_this_server(address):
    if is_within(address):
        base = "https://dashboard.example.org/login"
        # browsers drop tabs and line breaks, and take backslashes for slashes
        seen = address.translate({9: None, 10: None, 13: None, 92: "/"})
        assert urlsplit(urljoin(base, seen)).netloc == "dashboard.example.org"
        assert address.isascii() and address.isprintable()


@pytest.mark.parametrize(
    "address",
    ["/", "/dqm_app?camera=NectarCAMQM&run=1#a", "/dqm/dqm_app?pixels=1,2&x=%20", "/a//"],
)
def test_permalinks_are_within(address):
    assert is_within(address)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
         "Firefox 128, Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0", "Edge 126, Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) "
         "Version/17.5 Safari/605.1.15", "Safari 17, macOS"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
         "HeadlessChrome/120.0.0.0 Safari/537.36", "Chrome 120, Linux"),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/126.0.0.0 Mobile Safari/537.36", "Chrome 126, Android"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", ""),
    ],
)  # fmt: skip
def test_browsers_in_words(text, words):
    assert browser_in_words(text) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 second"), (1.5, "2 seconds"), (90, "90 seconds"),
                           (91, "2 minutes"), (900, "15 minutes")]
)  # fmt: skip
def test_waits_in_words(seconds, words):
    assert in_words(seconds) == words


def test_that_nobody_has_an_account_is_said_once(tmp_path, caplog):
    """`dqm serve` looks, and then Bokeh, which loads the application twice."""
    for _ in range(3):
        bring_up_to_date(f"sqlite:///{tmp_path}/accounts.sqlite")
    (said,) = [one for one in caplog.records if one.name.startswith("dqm")]
    assert "dqm user add" in said.getMessage()
