"""Our side of the source `dirac:`, against a process that speaks the protocol of the worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from processes import eventually

from dqm_db.errors import ConfigurationError
from ingest.sources import dirac as module
from ingest.sources import dirac_process, open_url
from ingest.sources.base import Listing, RemoteFile
from ingest.sources.dirac import MAX_DEATHS, Dirac
from ingest.sources.errors import (
    AccessDenied,
    AuthExpired,
    Corrupt,
    NotFound,
    SourceError,
    Unavailable,
)

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests" / "support" / "fake_dirac_worker.py"

Opener = Callable[..., Dirac]


def remote(name: str) -> RemoteFile:
    return RemoteFile(f"/g/{name}", name)


def asked(folder: Path) -> list[tuple[int, str]]:
    """Process and path of each request so far."""
    log = folder / "requests"
    lines = log.read_text().splitlines() if log.exists() else []
    return [tuple(json.loads(line)) for line in lines]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    """Opens the source with settings, given by the ends of their names."""
    monkeypatch.setattr(Dirac, "worker", FAKE)
    monkeypatch.setattr(dirac_process, "POLL", 0.05)
    monkeypatch.setattr(module, "GRACE", 0)
    monkeypatch.setenv("FAKE_DIRAC_LOG", str(tmp_path / "requests"))
    monkeypatch.setenv("FAKE_DIRAC_PROXY", str(tmp_path / "proxy"))
    monkeypatch.setenv("DQM_DIRAC_PYTHON", sys.executable)
    sources: list[Dirac] = []

    def open_source(**settings: object) -> Dirac:
        for name, value in settings.items():
            monkeypatch.setenv(f"DQM_DIRAC_{name.upper()}", str(value))
        source = open_url("dirac:/g")
        assert isinstance(source, Dirac)
        sources.append(source)
        return source

    yield open_source
    for source in sources:
        source.close()


def test_listing(opened: Opener) -> None:
    source = opened()
    assert source.root == "/g"
    assert source.list(source.root) == Listing(
        (
            RemoteFile("/g/a.tar.gz", "a.tar.gz", 14, 1.5, 7),
            RemoteFile("/g/b.tar.gz", "b.tar.gz", None, None, None),
        ),
        ("/g/c",),
        (("/g/link", "it is a link: give it by its name"),),
    )


@pytest.mark.parametrize("url", ["dirac:/ctao/x", "dirac://ctao/x/", "dirac:///ctao/x"])
def test_ways_to_write_a_directory(url: str, opened: Opener) -> None:
    opened()
    assert Dirac(url).root == "/ctao/x"


def test_fetch_and_close(opened: Opener, tmp_path: Path) -> None:
    source = opened()
    target = tmp_path / "a.part"
    assert source.fetch(remote("a"), target) == target
    assert target.read_bytes() == b"a results file"
    pid = source.pid
    source.close()
    source.close()
    assert asked(tmp_path)[-1] == (pid, "end of input")
    with pytest.raises(Unavailable, match="closed"):
        source.list("/g")


def test_as_many_at_once_as_fill_the_lists_and_one_more(opened: Opener) -> None:
    assert opened(streams=3, batch=7).streams == 28


def test_answers_reach_those_who_asked_in_any_order(opened: Opener, tmp_path: Path) -> None:
    source = opened()
    with ThreadPoolExecutor(9) as threads:
        held = [threads.submit(source.fetch, remote("hold"), tmp_path / str(n)) for n in range(8)]
        eventually(lambda: len(asked(tmp_path)) == 8, "eight requests")
        assert not any(result.done() for result in held)
        threads.submit(source.fetch, remote("release"), tmp_path / "last").result()
        assert [result.result() for result in held] == [tmp_path / str(n) for n in range(8)]
    assert len({pid for pid, _ in asked(tmp_path)}) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [(kind.__name__, kind) for kind in (AccessDenied, Corrupt, NotFound, Unavailable)]
    + [("Unheard-of", Unavailable)],
)
def test_errors_have_their_class(
    name: str, kind: type[SourceError], opened: Opener, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=f"^/g/error-{name}: two lines$") as caught:
        opened().fetch(remote(f"error-{name}"), tmp_path / "target")
    assert type(caught.value) is kind


def test_a_full_disk_is_no_error_of_the_source(opened: Opener, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="two") as caught:
        opened().fetch(remote("error-OSError"), tmp_path / "target")
    assert caught.value.errno == 28
    assert caught.value.filename == str(tmp_path / "target")
    assert not isinstance(caught.value, SourceError)


def test_a_process_that_dies_is_started_again(opened: Opener, tmp_path: Path) -> None:
    source = opened()
    target = tmp_path / "folder" / "target"
    target.parent.mkdir()
    with ThreadPoolExecutor(2) as threads:
        other = threads.submit(source.fetch, remote("hold"), tmp_path / "held")
        eventually(lambda: asked(tmp_path), "a request")
        with pytest.raises(Unavailable, match=r"^/g/die: .*\(SIGABRT\).*double free"):
            source.fetch(remote("die"), target)
        with pytest.raises(Unavailable, match=r"^/g/hold: .*SIGABRT"):
            other.result()
    assert list(target.parent.iterdir()) == []  # what it left behind is gone
    assert source.fetch(remote("a"), target).exists()
    assert len({pid for pid, _ in asked(tmp_path)}) == 2


def test_a_process_that_only_dies_is_left_alone(opened: Opener, tmp_path: Path) -> None:
    source = opened()
    for number in range(MAX_DEATHS):
        with pytest.raises(Unavailable, match="SIGABRT"):
            source.fetch(remote("die"), tmp_path / str(number))
    for _ in range(2):
        with pytest.raises(Unavailable, match=f"not started again after {MAX_DEATHS} times.*free"):
            source.fetch(remote("a"), tmp_path / "target")
    assert len(asked(tmp_path)) == MAX_DEATHS


def test_deaths_between_answers_are_not_counted_together(opened: Opener, tmp_path: Path) -> None:
    source = opened()
    for number in range(MAX_DEATHS + 1):
        with pytest.raises(Unavailable, match="SIGABRT"):
            source.fetch(remote("die"), tmp_path / str(number))
        assert source.list("/g").files


def test_a_process_that_is_silent_is_killed(opened: Opener, tmp_path: Path) -> None:
    source = opened(timeout=1)
    source.list("/g")
    assert source.pid is not None
    os.kill(source.pid, signal.SIGSTOP)
    with pytest.raises(Unavailable, match=r"killed, because it gave no sign of life for 1 s"):
        source.list("/g")
    assert source.list("/g").files


def test_a_long_answer_from_a_process_that_is_alive_is_awaited(
    opened: Opener, tmp_path: Path
) -> None:
    source = opened(timeout=1)
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(source.fetch, remote("hold"), tmp_path / "held")
        with pytest.raises(TimeoutError):
            held.result(2.5)
        source.fetch(remote("release"), tmp_path / "last")
        assert held.result() == tmp_path / "held"


def test_a_process_that_does_not_read_can_be_closed(opened: Opener, tmp_path: Path) -> None:
    source = opened()
    with ThreadPoolExecutor(1) as threads:
        frozen = threads.submit(source.list, "/g/freeze")
        eventually(lambda: asked(tmp_path), "a request")
        source.close()
        with pytest.raises(Unavailable, match="killed, because it did not end"):
            frozen.result()


def test_what_is_no_answer_ends_the_process(opened: Opener) -> None:
    source = opened()
    with pytest.raises(Unavailable, match="it sent what is no answer"):
        source.list("/g/garbage")
    assert source.list("/g").files


def test_it_ends_when_we_are_killed(opened: Opener, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from ingest.sources.dirac import Dirac\n"
        "Dirac.worker = Path(sys.argv[1]); source = Dirac('dirac:/g'); source.list('/g')\n"
        "source.list('/g/hold')"
    )
    ours = subprocess.Popen([sys.executable, "-c", script, str(FAKE)], cwd=ROOT)
    eventually(lambda: len(asked(tmp_path)) == 2, "two requests")
    ours.kill()
    ours.wait()
    eventually(lambda: asked(tmp_path)[-1][1] == "end of input", "the end of the process")


def test_without_a_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DQM_DIRAC_PYTHON", raising=False)
    with pytest.raises(ConfigurationError, match="DQM_DIRAC_PYTHON is not set") as caught:
        open_url("dirac:/g")
    assert caught.value.exit_code == 78
    monkeypatch.setenv("DQM_DIRAC_PYTHON", str(tmp_path))
    with pytest.raises(ConfigurationError, match="DQM_DIRAC_PYTHON: there is no program"):
        open_url("dirac:/g")


def test_without_a_directory(opened: Opener) -> None:
    opened()
    with pytest.raises(ConfigurationError, match="name a directory"):
        Dirac("dirac:/")


def test_what_cannot_be_started(opened: Opener, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/nowhere/python\n")
    program.chmod(0o755)
    with pytest.raises(Unavailable, match=r"/g: .*python cannot be started: .*No such file"):
        opened(python=program).list("/g")


def test_a_python_that_cannot_run_the_worker(opened: Opener, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'no environment here' >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(Unavailable, match=r"\(exit code 3\); it said last: no environment here"):
        opened(python=program).list("/g")


class TestProxy:
    """The command is a script that counts its calls."""

    @pytest.fixture
    def command(self, tmp_path: Path) -> Callable[[str], str]:
        def write(last: str) -> str:
            script = tmp_path / "renew"
            script.write_text(f"#!/bin/sh\necho called >> {tmp_path}/calls\n{last}\n")
            script.chmod(0o755)
            return str(script)

        return write

    @pytest.fixture
    def calls(self, tmp_path: Path) -> Callable[[], int]:
        log = tmp_path / "calls"
        return lambda: log.read_text().count("called") if log.exists() else 0

    def test_nothing_renews_it(self, opened: Opener, tmp_path: Path) -> None:
        (tmp_path / "proxy").write_text("0")
        with pytest.raises(AuthExpired, match=r"^/g: .*expired.*DQM_DIRAC_PROXY_COMMAND"):
            opened().list("/g")

    def test_it_is_renewed_once_for_all_who_wait(
        self,
        opened: Opener,
        tmp_path: Path,
        command: Callable[[str], str],
        calls: Callable[[], int],
    ) -> None:
        (tmp_path / "proxy").write_text("0")
        renew = command(f"sleep 0.3; echo 86400 > {tmp_path}/proxy")
        source = opened(proxy_command=renew)
        with ThreadPoolExecutor(6) as threads:
            got = list(
                threads.map(lambda n: source.fetch(remote("a"), tmp_path / f"t{n}"), range(6))
            )
        assert all(path.exists() for path in got)
        assert calls() == 1

    def test_the_last_line_of_what_fails_is_told(
        self,
        opened: Opener,
        tmp_path: Path,
        command: Callable[[str], str],
        calls: Callable[[], int],
    ) -> None:
        (tmp_path / "proxy").write_text("0")
        source = opened(proxy_command=command("echo first; echo wrong passphrase >&2; exit 1"))
        for _ in range(3):
            with pytest.raises(AuthExpired, match=r"renewing it failed: wrong passphrase$"):
                source.list("/g")
        assert calls() == 1

    def test_a_command_that_changes_nothing(
        self,
        opened: Opener,
        tmp_path: Path,
        command: Callable[[str], str],
        calls: Callable[[], int],
    ) -> None:
        (tmp_path / "proxy").write_text("0")
        source = opened(proxy_command=command("true"))
        for _ in range(3):
            with pytest.raises(AuthExpired, match="expired"):
                source.list("/g")
        assert calls() == 1

    def test_a_command_that_does_not_end(
        self, opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "RENEWAL_SECONDS", 0.2)
        (tmp_path / "proxy").write_text("0")
        with pytest.raises(AuthExpired, match=r"sleep did not end within 0\.2 s"):
            opened(proxy_command="sleep 1000").list("/g")

    def test_a_command_that_is_not_there(self, opened: Opener, tmp_path: Path) -> None:
        (tmp_path / "proxy").write_text("0")
        with pytest.raises(AuthExpired, match="/no/such cannot be started"):
            opened(proxy_command="/no/such --thing").list("/g")

    def test_a_command_that_cannot_be_read(self, opened: Opener) -> None:
        with pytest.raises(ConfigurationError, match="DQM_DIRAC_PROXY_COMMAND"):
            opened(proxy_command="renew 'it")

    def test_it_is_renewed_early_and_once(
        self,
        opened: Opener,
        tmp_path: Path,
        command: Callable[[str], str],
        calls: Callable[[], int],
    ) -> None:
        (tmp_path / "proxy").write_text("7000")
        source = opened(proxy_command=command("true"), proxy_hours=1.9)
        source.list("/g")
        assert calls() == 0
        (tmp_path / "proxy").write_text("6800")
        for _ in range(3):
            assert source.list("/g").files
        assert calls() == 1

    def test_an_early_renewal_that_fails_is_logged(
        self,
        opened: Opener,
        tmp_path: Path,
        command: Callable[[str], str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        (tmp_path / "proxy").write_text("60")
        assert opened(proxy_command=command("echo no card; exit 1")).list("/g").files
        assert "renewing the DIRAC proxy failed: no card" in caplog.text
