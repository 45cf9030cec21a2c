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
    [lines] = console_blocks("docs/commands.md")
    assert lines.pop(0).startswith("dqm demo")
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
        "serve": {"DQM_SERVE_PORT": str(ports[5006]), "DQM_NUM_PROCS": "1"},
    }
    listens = {"primary": ports[8100], "replica": ports[8101], "serve": ports[5006]}
    client = {
        **{name: value for name, value in os.environ.items() if name[:4] != "DQM_"},
        "DQM_DB_URL": f"zeo://{LOOPBACK}:{ports[8100]}",
        "DQM_LOCK_DIR": str(tmp_path / "locks"),
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
            else:
                type_lines([line], client)
        if page == "README.md":
            assert listed(type_lines(["dqm runs --json"], client)) == {("NectarCAMQM", 8003)}
            with urllib.request.urlopen(f"http://{LOOPBACK}:{ports[5006]}", timeout=20) as answer:
                assert answer.status == 200
        else:
            type_lines([f"dqm ingest {tmp_path}/data/results"], client)
        eventually(
            lambda: listed(type_lines(["dqm runs --json || true"], replica)), "the replica has it"
        )
