"""What programs show, and what browsers send along without being one (``Authorization``)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from visitors import PAGE, PASSWORD, LoginServer, Visitor, logged_in

from dqm_app.accounts.tokens import Scope

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginServer]:
    with LoginServer(tmp_path_factory.mktemp("schemes")) as server:
        yield server


def test_tokens_that_let_nobody_in(server):
    good = server.token("expert", [Scope.READ])
    ended = server.token("expert", [Scope.READ], days=1e-9)
    address = "/api/v1/openapi.json"
    bad = [
        "", "Bearer", "Bearer ", f"Bearer {good}x", f"Bearer {good[:-1]}", f"Basic {good}",
        f"bearer {good}x", f"Bearer {ended}", "Bearer dqm_' OR 1=1 --", f"Bearer {good} {good}",
        "Bearer " + "x" * 5000, f"Bearer {good.upper()}", "Bearer \xff\xfe",
    ]  # fmt: skip
    for value in bad:
        stranger = Visitor(server, {"Authorization": value})
        assert stranger.ask(address).status == 401, value
        # nor is a program led to a page that it would take for the file
        archive = stranger.ask(f"/downloads/{32 * '0'}/file")
        assert archive.asks_for_login or archive.header("WWW-Authenticate"), value
        assert archive.asks_for_login == (not value.lower().startswith("bearer")), value
    program = Visitor(server, {"Authorization": f"Bearer {good}"})
    assert program.ask(address).status == 200
    for scheme in ("bearer", "BEARER"):
        assert program.ask(address, headers={"Authorization": f"{scheme} {good}"}).status == 200
    assert program.ask("/account").status == 403 and program.ask(PAGE).status == 403
    # a bad token is not made up for by the cookie of somebody
    both = logged_in(server, "admin", headers={"X-Real-Ip": "192.0.2.1"})
    for bad_token in ("Bearer x", "bearer x", "Bearer", f"Bearer {ended}"):
        assert both.ask(address, headers={"Authorization": bad_token}).status == 401


def test_a_lock_before_the_dashboard(server):
    """A browser sends along what opened it, and is no program for that."""
    lock = {"Authorization": "Basic bmFtZTpwYXNzd29yZA=="}
    person = Visitor(server, lock)
    assert person.ask(PAGE).asks_for_login
    assert person.login("viewer").status == 303
    assert person.is_in() and person.ask("/account").status == 200
    assert person.ask("/api/v1/openapi.json").status == 200
    fields = {"label": "n", "days": "1", "scope": "read", "password": PASSWORD}
    body = urlencode(fields).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    for scheme in ("Basic x", "Digest x", "Negotiate", "x", "", "Basic x, Bearer x", "Bearerx y"):
        forged = person.ask("/account/token", "POST", body, kind | {"Authorization": scheme})
        assert forged.status == 403, scheme
        assert person.ask("/downloads", "POST", b"{}", {"Authorization": scheme}).status == 403
    assert "is shown only now" in person.form("/account/token", fields).text
    assert person.form("/logout").status == 303 and person.ask(PAGE).asks_for_login
