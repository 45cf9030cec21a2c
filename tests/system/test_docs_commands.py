"""The commands that the documents tell to type, typed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from processes import LOOPBACK, ServerProcess, eventually, free_port

from dqm.demo.ports import USUAL
from dqm.demo.stack import Stack

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests" / "data"


def console_blocks(page: str) -> list[list[str]]:
    """The lines to type of each block of a document."""
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / page).read_text(), re.M | re.DOTALL)
    return [re.findall(r"^\$ (.*)$", block, re.MULTILINE) for block in blocks]


def listed(stdout: str) -> set[tuple[str, int]]:
    """Camera and run of each line of `dqm runs --json`."""
    rows = map(json.loads, stdout.splitlines())
    return {(row["camera"], row["run"]) for row in rows}


def type_lines(lines: list[str], environment: Mapping[str, str]) -> str:
    """Type lines into a shell that finds this installation's commands; gives what they print."""
    typed = subprocess.run(
        ["bash", "-e", "-c", "\n".join(lines)],
        env={
            **environment,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert typed.returncode == 0, typed.stderr
    return typed.stdout


def test_the_commands_for_trials_do_what_they_say(tmp_path: Path) -> None:
    [lines] = [block for block in console_blocks("docs/commands.md") if "dqm demo" in block[0]]
    del lines[0]
    assert any(line.startswith("dqm ingest") for line in lines)
    with Stack(tmp_path / "stack", dashboard=False) as stack:
        # The page has the usual port of the demo; nothing else of it is changed.
        usual = f"zeo://{LOOPBACK}:{USUAL.primary}"
        assert usual in "\n".join(lines)
        lines = [line.replace(usual, stack.primary_url) for line in lines]
        environment = {**stack.environment(), "HOME": str(tmp_path)}
        environment["DQM_LOCK_DIR"] = str(tmp_path / "locks")
        stored = listed(
            type_lines([*lines, "dqm runs --json > ~/listed"], environment)
            and (tmp_path / "listed").read_text()
        )
    names = " ".join(file.name for file in (tmp_path / "results").iterdir())
    simulated = {
        ("NectarCAMQM", int(run)) for run in re.findall(r"NectarCAMQM_DQM_Run(\d+)", names)
    }
    assert len(simulated) == 4 and stored == simulated


def test_the_commands_of_the_puller_do_what_they_say(tmp_path: Path) -> None:
    """A folder with a good and a bad file stands for the source of the grid."""
    blocks = console_blocks("docs/grid.md")
    [pulling] = [block for block in blocks if block[0].startswith("export DQM_INGEST_SOURCES")]
    [releasing] = [block for block in blocks if block[0] == "dqm ingest --list-quarantine"]
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(SAMPLES / "NectarCAMQM_DQM_Run8003.tar.gz", source)
    (source / "NectarCAMQM_DQM_Run6310.tar.gz").write_bytes(b"spoiled")
    export, count = re.subn(r'"dirac:.*"', str(source), pulling[0])
    assert count == 1 and len(pulling) == 3
    with Stack(tmp_path / "stack", dashboard=False) as stack:
        environment = {**stack.environment(), "DQM_LOCK_DIR": str(tmp_path / "locks")}
        said = type_lines([export, "dqm ingest --runs 8003", pulling[1]], environment)
        assert "1 stored of 1" in said and "1 to do of 2" in said
        for _ in range(2):
            assert "1 failed" in type_lines([export, f"{pulling[2]} || true"], environment)
        assert "in quarantine" in type_lines(releasing[:1], environment)
        assert type_lines(releasing[1:], environment) == "released NectarCAMQM run 6310\n"


def test_the_puller_is_installed_as_written(tmp_path: Path) -> None:
    """Below a folder of the test's own, for a user that exists here; systemd is not asked."""
    blocks = [block for block in console_blocks("docs/grid.md") if "install" in block[0]]
    assert len(blocks) == 2
    group, user = (subprocess.check_output(["id", *how], text=True).strip()
                   for how in (["-gn"], ["-un"]))  # fmt: skip
    for place in ("systemd/system", "cron.d", "logrotate.d"):
        (tmp_path / "etc" / place).mkdir(parents=True)
    for place in ("var/lib", "var/log"):
        (tmp_path / place).mkdir(parents=True)
    for line in (line for block in blocks for line in block):
        here = re.sub(r" /(etc|var)/", rf" {tmp_path}/\1/", line)
        here = here.replace("-g nectarcam", f"-g {group}").replace("-o nectarcam", f"-o {user}")
        if here.startswith("systemctl"):
            unit = here.split()[-1]
            assert (tmp_path / "etc" / "systemd" / "system" / unit).is_file()
        else:
            type_lines([f"cd {ROOT}", here], os.environ)
    installed = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert installed == {
        "etc/nectarcam-dqm/dqm.env",
        "etc/systemd/system/dqm-ingest.service",
        "etc/systemd/system/dqm-ingest.timer",
        "etc/cron.d/dqm-ingest",
        "etc/logrotate.d/dqm-ingest",
    }


@pytest.mark.parametrize("page", ["README.md", "docs/replication.md"])
def test_the_servers_of_one_host_work_as_written(tmp_path: Path, page: str) -> None:
    """Each line is typed as it stands, with other ports and folders of the test."""
    [lines] = [block for block in console_blocks(page) if block[0].startswith("dqm primary")][:1]
    ports = {port: free_port() for port in (8100, 8101, 5000, 5006)}
    (tmp_path / "data" / "results").mkdir(parents=True)
    shutil.copy(SAMPLES / "NectarCAMQM_DQM_Run8003.tar.gz", tmp_path / "data" / "results")
    (tmp_path / "srv").mkdir()
    typed = [re.sub(r"(127\.0\.0\.1:)(\d+)", lambda m: f"{m[1]}{ports[int(m[2])]}", line)
             for line in lines]  # fmt: skip
    typed = [re.sub(r" /(srv|data)/", rf" {tmp_path}/\1/", line) for line in typed]
    # What a line does not say is a default, which another port stands for here.
    defaults = {
        "primary": {
            "DQM_ZEO_ADDRESS": f"{LOOPBACK}:{ports[8100]}",
            "DQM_ZRS_ADDRESS": f"{LOOPBACK}:{ports[5000]}",
        },
        "replica": {"DQM_ZEO_ADDRESS": f"{LOOPBACK}:{ports[8100]}", "DQM_RECONNECT_DELAY": "0.2"},
        "serve": {
            "DQM_SERVE_PORT": str(ports[5006]),
            "DQM_NUM_PROCS": "1",
            "DQM_AUTH": "accounts",
            "DQM_STATE_DIR": str(tmp_path / "state"),
        },
    }
    listens = {"primary": ports[8100], "replica": ports[8101], "serve": ports[5006]}
    client = {
        **{name: value for name, value in os.environ.items() if name[:4] != "DQM_"},
        "DQM_DB_URL": f"zeo://{LOOPBACK}:{ports[8100]}",
        "DQM_LOCK_DIR": str(tmp_path / "locks"),
        "DQM_STATE_DIR": str(tmp_path / "state"),
    }
    replica = {**client, "DQM_DB_URL": f"zeo://{LOOPBACK}:{ports[8101]}"}
    with contextlib.ExitStack() as servers:
        for line in typed:
            words = shlex.split(line)
            name = words[1]
            if name in listens:
                log = tmp_path / f"{name}.log"
                server = ServerProcess(words, listens[name], log, defaults[name])
                servers.enter_context(server)
            elif name == "user":  # who types would be asked for a password
                type_lines([f"{line} --password-stdin <<< 'four words of the test'"], client)
            else:
                type_lines([line], client)
        if page == "README.md":
            assert listed(type_lines(["dqm runs --json"], client)) == {("NectarCAMQM", 8003)}
            with urllib.request.urlopen(f"http://{LOOPBACK}:{ports[5006]}", timeout=20) as answer:
                assert answer.status == 200 and "/login?next=" in answer.url
            assert "anna" in type_lines(["dqm user list"], client)
        else:
            type_lines([f"dqm ingest {tmp_path}/data/results"], client)
        eventually(
            lambda: listed(type_lines(["dqm runs --json || true"], replica)), "the replica has it"
        )
