"""Sockets that a service manager hands to a process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys

import pytest
from handing_on import handing_on
from hypothesis import given
from hypothesis import strategies as st

from dqm_db.errors import ConfigurationError
from dqm_db.inherited_sockets import VARIABLES, InheritedSockets, is_open_to_all

TAKE = """
import json, os, subprocess, sys
from dqm_db.errors import ConfigurationError
from dqm_db.inherited_sockets import InheritedSockets

def left():
    return sorted(name for name in os.environ if name.startswith("LISTEN_"))

def descriptors():
    said = subprocess.run(["ls", "/proc/self/fd"], close_fds=False, capture_output=True, text=True)
    return sorted(map(int, said.stdout.split()))

try:
    taken = InheritedSockets.take(*sys.argv[1].split(","))
except ConfigurationError as error:
    print(json.dumps({"error": str(error), "left": left()}))
    raise SystemExit
told = {
    "sockets": [(one.name, str(one.address)) for one in taken],
    "elsewhere": [one.is_of_another_network() for one in taken],
    "left": left(),
    "children": descriptors(),
}
if sys.argv[2:] == ["again"]:
    taken.hand_on()
    print(json.dumps(told), flush=True)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:-1]])
print(json.dumps(told))
"""


def take(sockets, names="", *, roles="zeo,zrs", again=False):
    """What a child process finds that inherits *sockets*; with *again*, also what its own does."""
    command = [sys.executable, "-c", TAKE, roles, *(["again"] if again else [])]
    said = subprocess.run(
        handing_on(command, sockets, names),
        pass_fds=[one.fileno() for one in sockets],
        capture_output=True,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in said.stdout.splitlines()]
    assert not any(one["left"] for one in found), "children would take them for theirs"
    return found if again else found[0]


@pytest.fixture
def resources():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def tcp(resources):
    return resources.enter_context(socket.create_server(("127.0.0.1", 0)))


@pytest.fixture
def unix(resources, tmp_path):
    listener = resources.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(tmp_path / "zeo.sock"))
    listener.listen()
    return listener


def shown(listener):
    return "{}:{}".format(*listener.getsockname())


def test_sockets_have_names_and_addresses(tcp, unix, tmp_path):
    told = take([tcp, unix, tcp], "zeo:zeo:zrs")
    assert told["sockets"] == [
        ["zeo", shown(tcp)],
        ["zeo", str(tmp_path / "zeo.sock")],
        ["zrs", shown(tcp)],
    ]
    assert told["elsewhere"] == [False] * 3
    # 0 to 2, and the one by which ls reads its folder
    assert set(told["children"]) <= {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["", "unknown", "dqm-primary.socket"])
def test_a_single_socket_without_a_name_is_for_the_first(tcp, name):
    assert take([tcp], name)["sockets"] == [["zeo", shown(tcp)]]


def test_several_without_names_are_for_the_only_one(tcp, unix):
    assert {name for name, _ in take([tcp, unix], roles="http")["sockets"]} == {"http"}
    assert "each needs a name, zeo or zrs" in take([tcp, unix])["error"]


def test_the_next_program_takes_them_again(tcp, unix):
    first, second = take([tcp, unix], "zrs:zeo", again=True)
    assert first == second
    assert [name for name, _ in second["sockets"]] == ["zrs", "zeo"]


def test_other_names_are_refused(tcp):
    error = take([tcp], "http")["error"]
    assert "'http'" in error
    assert "zeo or zrs" in error
    assert "FileDescriptorName=" in error


def test_as_many_names_as_sockets(tcp):
    assert "another number of names" in take([tcp], "zeo:zrs")["error"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("datagrams", "is no stream socket"),
        ("connected", "does not listen"),
        ("abstract", "without an absolute path"),
        ("file", "is no socket"),
    ],
)
def test_other_kinds_are_refused(resources, tcp, tmp_path, kind, said):
    match kind:
        case "datagrams":
            other = resources.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        case "connected":
            other = resources.enter_context(socket.create_connection(tcp.getsockname()))
        case "abstract":
            other = resources.enter_context(socket.socket(socket.AF_UNIX))
            other.bind(f"\0{tmp_path}")
            other.listen()
        case "file":
            other = resources.enter_context((tmp_path / "file").open("w"))
    assert said in take([tcp, other], "zeo:zeo")["error"]


def test_those_of_another_network_are_known(tcp):
    command = ["/usr/bin/unshare", "--map-root-user", "--net", sys.executable, "-c", TAKE, "zeo"]
    if subprocess.run([*command[:3], "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a network namespace")
    said = subprocess.run(
        handing_on(command, [tcp], "zeo"),
        pass_fds=[tcp.fileno()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(said.stdout)["elsewhere"] == [True]


def test_those_of_another_process_are_not_taken():
    environment = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1", "HOME": "/"}
    assert len(InheritedSockets.take("zeo", environment=environment)) == 0
    assert environment == {"HOME": "/"}


texts = st.one_of(
    st.just(str(os.getpid())),
    st.sampled_from(["0", "-1", " 1", "1 ", "+1", "1_0", "0x3", "١", "999999999", "9" * 30]),
    st.text(max_size=6),
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "LISTEN_PID": texts,
            "LISTEN_FDS": texts.filter(lambda text: text not in map(str, range(1, 99))),
            "LISTEN_FDNAMES": st.text("zeor:s\0", max_size=12),
            "LISTEN_PIDFDID": texts,
        },
    )
)
def test_whatever_the_environment_says(environment):
    complete = {"LISTEN_PID", "LISTEN_FDS"} <= set(environment)
    try:
        taken = InheritedSockets.take("zeo", "zrs", environment=environment)
    except ConfigurationError as error:
        assert complete
        assert "LISTEN_" in str(error)
    else:
        assert len(taken) == 0, "nobody has handed any on"
    assert not set(environment) & set(VARIABLES)


def test_who_may_connect(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    path = folder / "zeo.sock"
    assert not is_open_to_all(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        all_above = all(parent.stat().st_mode & 0o001 for parent in folder.parents)
        assert is_open_to_all(path) == all_above
        path.chmod(0o660)
        assert not is_open_to_all(path)
        path.chmod(0o666)
        folder.chmod(0o700)
        assert not is_open_to_all(path)
