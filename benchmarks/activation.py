"""How long who connects first waits for a service that this starts, by systemd's own activation."""

from __future__ import annotations

import asyncio
import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.bars import Result
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.servers import filled_stack, process_count
from benchmarks.synthetic import CAMERAS, read_sample
from dqm.demo.ports import LOOPBACK, free_ports
from dqm_db.server_answers import ask_status

PATIENCE = 60.0
_DQM = Path(sys.executable).with_name("dqm")


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``activation``."""
    if shutil.which("systemd-socket-activate") is None:
        raise RuntimeError("systemd-socket-activate is missing: install systemd (`make servers`)")
    sample = read_sample()
    runs = {CAMERAS[0]: range(SAMPLE_RUN, SAMPLE_RUN + 3)}
    with filled_stack(plan.folder / "stack", runs, sample.content) as stack:
        dashboard = [
            _activated(
                plan,
                "http",
                ["serve"],
                {"DQM_DB_URL": stack.replica_url, "DQM_AUTH": "none"},
                _first_byte,
            )
            for _ in range(plan.restarts)
        ]
        copy = plan.folder / "copy"
        shutil.copytree(stack.directory / "replica", copy)
    primary = [
        _activated(plan, "zeo:zrs", ["primary", "--data-dir", str(copy)], {}, _answer)
        for _ in range(plan.restarts)
    ]
    processes = {"processes": process_count()}
    return [
        Result("activated_dashboard", max(dashboard), {"seconds": dashboard, **processes}),
        Result("activated_primary", max(primary), {"seconds": primary}),
    ]


def _activated(
    plan: Plan,
    names: str,
    arguments: Sequence[str],
    variables: dict[str, str],
    connect: Callable[[int], None],
) -> float:
    """Seconds that *connect*, given the port, takes when nobody serves there yet."""
    plan.say(f"dqm {arguments[0]}")
    command = ["systemd-socket-activate", f"--fdname={names}"]
    ports = free_ports(names.count(":") + 1)
    for port in ports:
        command += ["-l", f"{LOOPBACK}:{port}"]
    for name in ("PATH", "HOME", *variables):
        command += ["-E", name]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DQM_")}
    with subprocess.Popen(
        [*command, str(_DQM), *arguments],
        env=kept | variables,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            for _ in ports:
                if not (line := process.stderr.readline()).startswith("Listening on"):
                    raise RuntimeError(f"systemd-socket-activate: {line.strip()}")
            began = time.perf_counter()
            connect(ports[0])
            return time.perf_counter() - began
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


def _first_byte(port: int) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/dqm_app")
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != http.client.OK:
        raise RuntimeError(f"the dashboard answers with {status}")


def _answer(port: int) -> None:
    answer = asyncio.run(ask_status(LOOPBACK, port, PATIENCE))
    if answer.role != "primary":
        raise RuntimeError(f"a {answer.role} answers")
