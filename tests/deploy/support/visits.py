"""Who visits a dashboard with accounts: browsers that log in, curl with its cookies or a token."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from browsing import DashboardPage
from playwright.sync_api import Browser

ADMIN, PASSWORD = "anna", "four words at once"

Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Answer:
    """What the site said; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    cookies: Sequence[str]
    text: str

    @property
    def asks_for_login(self) -> bool:
        """Whether a page leads to the form of the login."""
        return self.status == 302 and self.headers["location"].startswith("/login?")

    def json(self) -> Any:
        assert self.status in (200, 201), (self.status, self.text)
        return json.loads(self.text)


class Visitor:
    """curl, which keeps cookies as a browser does.

    Parameters
    ----------
    run
        Runs it: `Host.run` of a desk, or `Machine.run`.
    site
        What addresses begin with: ``https://dqm.example.org``.
    jar
        File of its cookies, where it runs.
    options
        More options for each call.
    """

    def __init__(self, run: Run, site: str, jar: str | Path, *options: str | Path) -> None:
        self._run = run
        self._site = site
        kept = ("--cookie", jar, "--cookie-jar", jar)
        self._curl = ("curl", "--silent", "--show-error", "--max-time", "50", *kept, *options)

    def ask(self, path: str, *options: str | Path) -> Answer:
        """One request; redirects are not followed."""
        said = self._run(*self._curl, "--include", *options, f"{self._site}{path}").stdout
        head, _, text = said.partition("\n\n")  # CRLF is read as a line's end
        first, *lines = head.splitlines()
        pairs = [line.partition(": ")[::2] for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        cookies = [value for name, value in pairs if name.lower() == "set-cookie"]
        return Answer(int(first.split()[1]), headers, cookies, text)

    def form(self, page: str, to: str, **fields: str) -> Answer:
        """Open *page*, and send its form with these fields to *to*."""
        found = re.search(r'name="_xsrf" value="([^"]+)"', self.ask(page).text)
        assert found is not None, f"there is no form in {page}"
        given = {"_xsrf": found[1], **fields}
        words = [f"{name}={value}" for name, value in given.items()]
        return self.ask(to, *(part for word in words for part in ("--data-urlencode", word)))

    def login(self, name: str = ADMIN, password: str = PASSWORD, then: str = "") -> Answer:
        """Log in, having wanted to go to *then*."""
        return self.form("/login", "/login", name=name, password=password, next=then)

    def fetch(self, path: str, target: Path, *options: str | Path) -> int:
        """Have a file of the site in *target*; gives the status."""
        told = ("--output", target, "--write-out", "%{http_code}")
        return int(self._run(*self._curl, *told, *options, f"{self._site}{path}").stdout)


class LoggedInPage(DashboardPage):
    """A page of the dashboard in a browser that is led to the login first, and back by it."""

    def __init__(self, browser: Browser, url: str) -> None:
        super().__init__(browser, url, trusting=True)

    def __enter__(self) -> Self:
        self.page.goto(self.url)
        self.page.fill("#name", ADMIN)
        self.page.fill("#password", PASSWORD)
        self.page.press("#password", "Enter")
        self.page.wait_for_url("**/dqm_app**")
        return self.settled()


def typed_at_a_terminal(
    command: Sequence[str], answers: Mapping[str, str], patience: float = 60
) -> str:
    """Run *command* at a terminal, answer each prompt once, and give what was shown."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown, waiting = "", dict(answers)
        end = time.monotonic() + patience
        try:
            while time.monotonic() < end:
                if not select.select([ours], [], [], 1)[0]:
                    continue
                try:
                    piece = os.read(ours, 4096)
                except OSError:  # the other side is closed
                    break
                shown += piece.decode(errors="replace")
                for prompt in [one for one in waiting if shown.rstrip().endswith(one)]:
                    os.write(ours, f"{waiting.pop(prompt)}\n".encode())
        finally:
            if process.poll() is None and time.monotonic() >= end:
                process.kill()
            os.close(ours)
    assert process.returncode == 0, shown
    assert not waiting, f"not asked for {sorted(waiting)}: {shown}"
    return shown
