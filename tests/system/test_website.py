"""nginx in front of two dashboards, without a browser: headers, limits, failover, logs."""

from __future__ import annotations

import gzip
import re
import signal
import socket
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from grid_servers import program
from processes import COMMANDS, LOOPBACK, eventually, free_port
from website import Dashboard, Website

pytestmark = pytest.mark.system

NO_DATABASE = "zeo://127.0.0.1:1"
ELSEWHERE = "127.0.0.2"
ALWAYS = {
    "strict-transport-security": r"max-age=\d{8}",
    "content-security-policy": r"default-src 'none'; .*frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": r"camera=\(\), .*",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Site:
    """Two dashboards without a database, and nginx."""

    def __init__(self, folder: Path, stack: ExitStack, prefix: str = "", **options: Any) -> None:
        port = free_port()
        origin = f"localhost:{port}"
        self.dashboards = [
            stack.enter_context(Dashboard(folder, NO_DATABASE, origin, prefix=prefix))
            for _ in range(2)
        ]
        ports = [dashboard.port for dashboard in self.dashboards]
        web = Website(folder, ports, prefix=prefix, port=port, **options)
        self.web = stack.enter_context(web)

    def served(self, pages: int) -> list[int]:
        """How many pages each dashboard has logged, once they are *pages* altogether."""

        def counts() -> list[int]:
            return [dashboard.text().count("GET /dqm_app ") for dashboard in self.dashboards]

        eventually(lambda: sum(counts()) == pages, f"{pages} pages in the logs")
        return counts()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """For the tests that leave it as it is."""
    with ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("site"), stack)


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """Of one test's own; a dashboard that failed is asked again soon."""
    with ExitStack() as stack:
        yield Site(tmp_path, stack, aside=1)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 302),
        ("GET", "/dqm_app", 200),
        ("HEAD", "/assets/app.js", 200),
        ("GET", "/assets/unknown.js", 404),
        ("GET", "/static/js/bokeh.min.js", 200),
        ("GET", "/alive", 200),
        ("GET", "/health", 200),
        ("GET", "/ready", 503),
        ("GET", "/dqm_app/ws", 400),
        ("GET", "/dqm_app/autoload.js", 404),
        ("GET", "/dqm_app/metadata", 404),
        ("GET", "/anything", 404),
        ("POST", "/dqm_app", 405),
        ("GET", "/dqm_app?run=1&bokeh-token=abc", 400),
        ("GET", "/?bokeh-session-id=abc", 400),
    ],
)
def test_every_answer_has_the_headers(site, method, path, status):
    answer = site.web.ask(path, method)
    assert answer.status == status
    for name, value in ALWAYS.items():
        assert re.fullmatch(value, answer.headers[name]), name
    assert answer.headers["server"] == "nginx", "which release is nobody's business"
    if status >= 400:
        assert answer.headers["cache-control"] == "no-store"


def test_a_body_is_refused(site):
    assert site.web.ask("/dqm_app", "POST", body=b"x" * 5000).status in (405, 413)


def test_plain_http_leads_to_tls_with_the_query(site):
    answer = site.web.ask_plainly("/dqm_app?run=6310&view=maps")
    expected = f"https://{site.web.origin}/dqm_app?run=6310&view=maps"
    assert (answer.status, answer.headers["location"]) == (301, expected)


@pytest.mark.parametrize("accepted", [False, True])
def test_old_versions_of_tls_are_refused(site, accepted):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    if accepted:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection((LOOPBACK, site.web.port), 30) as plain:
        if accepted:
            with context.wrap_socket(plain) as connection:
                assert connection.version() == "TLSv1.2"
        else:
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                context.wrap_socket(plain)


def test_files_are_compressed_and_kept_by_their_version(site):
    page = site.web.ask("/dqm_app")
    assert page.headers["cache-control"] == "no-store"
    addresses = re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css)\?v=[^"]+)"', page.body.decode())
    assert len(addresses) > 10
    assert any("bokeh.min.js" in address for address in addresses)
    for address in addresses:
        answer = site.web.ask(address)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "expires" not in answer.headers
        if len(answer.body) < 1000:
            continue
        small = site.web.ask(address, accept_encoding="gzip")
        assert small.headers["content-encoding"] == "gzip"
        assert "accept-encoding" in small.headers["vary"].lower()
        assert gzip.decompress(small.body) == answer.body
        assert len(small.body) < 0.6 * len(answer.body)
        other = site.web.ask(address[:-1] + ("0" if address[-1] != "0" else "1"))
        assert other.headers["cache-control"] == "no-cache", "it may be of another release"
        again = site.web.ask(address, if_none_match=answer.headers["etag"])
        assert (again.status, again.body) == (304, b"")


def test_a_live_connection_is_for_our_pages_only(site):
    token = site.web.page_token()
    status, first = site.web.open_websocket(token)
    assert status == 101
    assert b"ACK" in first
    assert site.web.open_websocket(token, "https://elsewhere.example")[0] == 403
    assert site.web.open_websocket(token, f"https://localhost:{site.web.port + 1}")[0] == 403
    assert site.web.open_websocket(token, path="/dqm_app/other")[0] == 404


def test_any_dashboard_takes_a_token_of_the_other(own_site):
    """What several hosts need to share is the secret alone."""
    token = own_site.web.page_token()
    for dashboard in own_site.dashboards:
        dashboard.kill()
        # the first one may still be left alone when the second one is killed
        eventually(lambda: own_site.web.open_websocket(token)[0] == 101, "a live connection")
        dashboard.start()


def test_requests_of_a_browser_stay_with_one_dashboard(own_site):
    for at in range(10):
        own_site.web.ask("/dqm_app", user_agent="one")
        assert sorted(own_site.served(at + 1)) == [0, at + 1]
    for at in range(30):
        own_site.web.ask("/dqm_app", user_agent=f"another {at}")
    assert min(own_site.served(40)) > 0, "browsers are shared out"


def test_a_dashboard_that_hangs_is_passed_over(tmp_path):
    with ExitStack() as stack:
        site = Site(tmp_path, stack, changed={"proxy_read_timeout": "3s"})
        site.web.ask("/dqm_app")
        busy = site.served(1).index(1)
        site.dashboards[busy].send(signal.SIGSTOP)
        stack.callback(site.dashboards[busy].send, signal.SIGCONT)
        assert site.web.ask("/dqm_app").status == 200
        assert site.web.ask("/dqm_app").status == 200
        assert site.served(3)[1 - busy] == 2


def test_a_room_is_let_in_and_a_flood_is_not(own_site):
    """30 people behind one address whose pages come back three times; then somebody's loop."""
    web = own_site.web
    with ThreadPoolExecutor(30) as room:
        for _ in range(3):
            assert set(room.map(lambda _: web.ask("/dqm_app").status, range(30))) == {200}
        token = web.page_token()
        for _ in range(3):
            opened = room.map(lambda _: web.open_websocket(token)[0], range(30))
            assert set(opened) == {101}
        files = Counter(room.map(lambda _: web.ask("/assets/app.js").status, range(500)))
        assert files == {200: 500}
        flood = Counter(room.map(lambda _: web.ask("/").status, range(500)))
    assert set(flood) == {302, 429}
    refused = web.ask("/")
    assert refused.status == 429
    assert refused.headers["retry-after"] == "5"
    assert refused.headers["cache-control"] == "no-store"
    assert b"Too many pages at once" in refused.body
    assert b"does not answer" not in refused.body
    assert web.ask("/assets/app.js").status == 200
    assert web.ask("/", source=ELSEWHERE).status == 302, "others are let in"


def test_a_host_of_ipv6_is_one_however_many_addresses_it_has(site, tmp_path):
    """nginx takes the addresses from a header, since there are none of IPv6 to send from."""
    ports = [dashboard.port for dashboard in site.dashboards]
    told = f"set_real_ip_from {LOOPBACK}; real_ip_header X-Address;"

    def asked(web: Website, addresses: list[str]) -> Counter[int]:
        with ThreadPoolExecutor(20) as many:
            return Counter(many.map(lambda at: web.ask("/", x_address=at).status, addresses))

    with Website(tmp_path, ports, more=told) as web:
        assert asked(web, [f"2001:db8:{at:x}:5::1" for at in range(300)]) == {302: 300}
        assert asked(web, [f"192.0.2.{at % 250}" for at in range(300)]) == {302: 300}
        for network in ("2001:db8:0:7:", "2001:db8:9::"):
            found = asked(web, [f"{network}{at:x}:{at:x}:3:4" for at in range(1, 400)])
            assert found[429] > 100, network
        # as a socket for both kinds has those of IPv4
        web.ask("/?mapped", x_address="::ffff:192.0.2.77")
        logs = [dashboard.text for dashboard in site.dashboards]
        eventually(
            lambda: any("GET /?mapped (192.0.2.77)" in text() for text in logs), "it is IPv4 again"
        )
        assert "::ffff:" not in web.access_log.read_text()


def test_monitors_alone_read_metrics(site, tmp_path):
    for path in ("/metrics", "/health", "/ready"):
        assert site.web.ask(path).status in (200, 503)
        assert site.web.ask(path, source=ELSEWHERE).status == 403
    assert site.web.ask("/alive", source=ELSEWHERE).status == 200
    ports = [dashboard.port for dashboard in site.dashboards]
    with Website(tmp_path, ports, monitors=f"allow {ELSEWHERE};") as web:
        assert web.ask("/metrics", source=ELSEWHERE).status == 200
        assert web.ask("/metrics", source="127.0.0.3").status == 403


def test_the_dashboard_logs_who_asked_and_nginx_logs_no_queries(site):
    site.web.ask(
        "/dqm_app?view=maps&secret=1234",
        source="127.0.0.7",
        x_forwarded_for="6.6.6.6",
        x_real_ip="6.6.6.6",
        referer="https://localhost/?secret=1234",
    )

    def lines(log: str, words: str) -> list[str]:
        return [line for line in log.splitlines() if words in line]

    def dashboards() -> str:
        return "\n".join(dashboard.text() for dashboard in site.dashboards)

    (line,) = eventually(lambda: lines(dashboards(), "secret=1234"), "a dashboard has logged it")
    assert "(127.0.0.7)" in line
    own = site.web.access_log
    (line,) = eventually(lambda: lines(own.read_text(), "127.0.0.7"), "nginx has logged it")
    assert '"GET /dqm_app HTTP/1.1" 200' in line
    assert "secret" not in own.read_text()


def test_a_slow_client_is_cut_off(site, tmp_path):
    ports = [dashboard.port for dashboard in site.dashboards]
    with (
        Website(tmp_path, ports, changed={"client_header_timeout": "2s"}) as web,
        socket.create_connection((LOOPBACK, web.port), 60) as plain,
        web.tls.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        try:
            answer = connection.recv(100)
        except (ConnectionError, ssl.SSLError):
            answer = b""
        assert answer.split(b" ")[1:2] in ([], [b"408"])


def test_the_page_when_no_dashboard_answers(own_site):
    for dashboard in own_site.dashboards:
        dashboard.kill()
    answer = own_site.web.ask("/dqm_app?run=6310")
    assert answer.status == 502
    assert b"The dashboard does not answer" in answer.body
    assert b"Status 502" in answer.body
    assert b"<!--#" not in answer.body, "all of it was filled in"
    for name, value in ALWAYS.items():
        assert re.fullmatch(value, answer.headers[name]), name
    assert own_site.web.ask("/alive").status == 502
    own_site.dashboards[0].start()
    eventually(lambda: own_site.web.ask("/dqm_app?run=6310").status == 200, "the page is back")


def test_dashboards_at_a_unix_socket(tmp_path):
    """Listened at by systemd, or what stands for it here, and taken over by several processes."""
    place, log, port = tmp_path / "http.sock", tmp_path / "dashboard.log", free_port()
    given = [f"DQM_DB_URL={NO_DATABASE}", f"DQM_ALLOWED_ORIGINS=localhost:{port}", "DQM_AUTH=none"]
    command = [program("systemd-socket-activate", "systemd"), "--listen", place, "--fdname=http"]
    command += [f"--setenv={variable}" for variable in given]
    command += [COMMANDS / "dqm", "serve", "--num-procs", "2", "--use-xheaders", "-v"]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as dashboard,
        Website(tmp_path, [f"unix:{place}"], port=port) as web,
    ):
        try:
            eventually(lambda: web.ask("/dqm_app").status == 200, "the page")
            assert web.open_websocket(web.page_token())[0] == 101
            web.ask("/dqm_app", source="127.0.0.8")
            eventually(lambda: "GET /dqm_app (127.0.0.8)" in log.read_text(), "who asked")
        finally:
            dashboard.terminate()


def test_below_a_prefix(tmp_path):
    with ExitStack() as stack:
        site = Site(tmp_path, stack, prefix="/dqm")
        for path in ("/dqm", "/dqm/", "/dqm/bokeh_app"):
            answer = site.web.ask(f"{path}?run=1")
            assert (answer.status, answer.headers["location"]) == (302, "/dqm/dqm_app?run=1")
        page = site.web.ask("/dqm/dqm_app").body.decode()
        addresses = re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css)\?v=[^"]+)"', page)
        assert {site.web.ask(address).status for address in addresses} == {200}
        assert site.web.ask("/dqm/alive").status == 200
        token = site.web.page_token("/dqm/dqm_app")
        assert site.web.open_websocket(token, path="/dqm/dqm_app/ws")[0] == 101
        for path in ("/", "/dqm_app", "/assets/app.js", "/metrics"):
            assert site.web.ask(path).status == 404
