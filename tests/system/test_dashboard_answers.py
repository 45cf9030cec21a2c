"""What the dashboard's answers tell browsers and proxies, with nothing in front of it."""

from __future__ import annotations

import base64
import hashlib
import re
import urllib.request
from email.message import Message
from pathlib import Path

import pytest
from processes import LOOPBACK, ServerProcess, free_port

import dqm_app

pytestmark = pytest.mark.system

NO_DATABASE = {"DQM_DB_URL": "zeo://127.0.0.1:1", "DQM_DB_WAIT": "0.2"}
APPLICATION = Path(dqm_app.__file__).parent
OURS = ["dqm", "serve", "--num-procs", "1"]
BOKEHS = ["bokeh", "serve", str(APPLICATION), "--address", LOOPBACK, "--num-procs", "1"]


@pytest.fixture(scope="module", params=[(OURS, ""), (OURS, "/dqm"), (BOKEHS, ""), (BOKEHS, "/dqm")])
def base(request, tmp_path_factory):
    """Address of a dashboard, both ways to start it, with and without a prefix."""
    command, prefix = request.param
    port = free_port()
    options = ["--port", str(port), "--prefix", prefix]
    log = tmp_path_factory.mktemp("dashboard") / "dashboard.log"
    with ServerProcess([*command, *options], port, log, NO_DATABASE):
        yield f"http://{LOOPBACK}:{port}{prefix}"


def get(url: str) -> tuple[Message, str]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.headers, answer.read().decode()


def test_the_page_runs_its_own_scripts_only(base):
    headers, page = get(f"{base}/dqm_app?view=maps")
    policy = dict(
        directive.split(" ", 1) for directive in headers["Content-Security-Policy"].split("; ")
    )
    inline = re.findall(r"<script(?: type=\"importmap\")?>(.*?)</script>", page, re.DOTALL)
    data = re.findall(r"<script type=\"application/json\"", page)
    files = re.findall(r"<script[^>]* src=\"/[^\"]+\"[^>]*></script>", page)
    assert (len(inline), len(data), len(files)) == (2, 1, 2)
    assert page.count("<script") == 5, "there are no others"
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in inline]
    assert policy["script-src"].split() == [
        "'self'",
        *(f"'sha256-{digest.decode()}'" for digest in digests),
    ]
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert not re.search(r"<[^>]* on[a-z]+=", page), "handlers in attributes would not run"


def test_the_page_is_kept_by_nobody(base):
    headers, _ = get(f"{base}/dqm_app")
    assert headers["Cache-Control"] == "no-store", "it holds the token of one session"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_files_are_kept_by_who_asked_for_their_version(base):
    _, page = get(f"{base}/dqm_app")
    host = base.split("/", 3)
    (bokeh,) = re.findall(r'src="([^"]+bokeh\.min\.js\?v=[0-9a-f]+)"', page)
    (ours,) = re.findall(r'src="([^"]+app\.js\?v=[0-9a-f]+)"', page)
    for address in (bokeh, ours):
        url = f"http://{host[2]}{address}"
        headers, _ = get(url)
        assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert headers["Expires"] is None
        for other in (url.partition("?")[0], f"{url}0", f"{url}&v=0"):
            headers, _ = get(other)
            assert headers["Cache-Control"] == "no-cache"
