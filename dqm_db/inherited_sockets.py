"""Listening sockets that a service manager hands to this process, by systemd's protocol.

The first is descriptor 3. ``LISTEN_FDS`` says how many there are, ``LISTEN_PID`` for which process,
``LISTEN_FDNAMES`` what each is for: sd_listen_fds(3), and ``FileDescriptorName=`` in
systemd.socket(5). Podman hands them into a container in the same way.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dqm_db.errors import ConfigurationError
from dqm_db.replication.addresses import Address

FIRST = 3
"""Descriptor of the first socket (SD_LISTEN_FDS_START)."""

CLIENTS = "zeo"
REPLICAS = "zrs"
BROWSERS = "http"

PID, COUNT, NAMES = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"
VARIABLES = (PID, COUNT, NAMES, "LISTEN_PIDFDID")

_NUMBER = re.compile(r"[0-9]{1,9}")
_NETWORK_COOKIE = 71  # SO_NETNS_COOKIE of asm-generic/socket.h, since Linux 5.14
_HOW = "see FileDescriptorName= in systemd.socket(5)"


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """One of them; it stays open as long as this process lives.

    Attributes
    ----------
    descriptor : int
    name : str
        What it is for.
    address : Address
        Where it listens.
    """

    descriptor: int
    name: str
    address: Address

    def listener(self) -> socket.socket:
        """A non-blocking duplicate, whose owner closes it as if it were its own."""
        duplicate = socket.socket(fileno=os.dup(self.descriptor))
        os.set_inheritable(duplicate.fileno(), False)
        duplicate.setblocking(False)
        return duplicate

    def is_of_another_network(self) -> bool:
        """Whether it was opened in another network namespace: the host's, seen from a container.

        Nobody in our own can then connect there by TCP. False where the kernel does not tell.
        """
        with socket.socket(fileno=os.dup(self.descriptor)) as it, socket.socket() as ours:
            try:
                return _network(it) != _network(ours)
            except OSError:
                return False


class InheritedSockets:
    """All that this process was given.

    Parameters
    ----------
    sockets
        In the order of their descriptors.
    """

    def __init__(self, sockets: Sequence[InheritedSocket] = ()) -> None:
        self._sockets = tuple(sockets)

    @classmethod
    def take(
        cls, *names: str, environment: MutableMapping[str, str] = os.environ
    ) -> InheritedSockets:
        """Those that the *environment* tells of, which then tells of none any more.

        So processes that are started later do not take them for theirs. None when they are for
        another process, as sd_listen_fds does.

        Parameters
        ----------
        names
            What sockets can be for here. Without a name, a single one is for the first; so are
            several, when there is only one name.
        environment
            Variables by name.

        Raises
        ------
        ConfigurationError
            The variables contradict themselves, or a socket is none that can be used.
        """
        told = {name: environment.pop(name) for name in VARIABLES if name in environment}
        if PID not in told or COUNT not in told:
            return cls()
        if _number(told, PID) != os.getpid():
            return cls()
        count = _number(told, COUNT)
        if NAMES in told and told[NAMES].count(":") + 1 != count:
            raise ConfigurationError(
                f"{count} sockets were inherited, but {NAMES} has another number of names: "
                f"{told[NAMES]!r}"
            )
        descriptors = range(FIRST, FIRST + count)
        for descriptor in descriptors:  # first of all, whatever is found later
            try:
                os.set_inheritable(descriptor, False)
            except OSError as error:
                raise ConfigurationError(
                    f"{COUNT} is {count}, but there is no descriptor {descriptor} "
                    f"({error.strerror})"
                ) from error
        given = told[NAMES].split(":") if NAMES in told else [""] * count
        return cls(
            [
                InheritedSocket(descriptor, _purpose(name, count, names), _listens_at(descriptor))
                for descriptor, name in zip(descriptors, given, strict=True)
            ]
        )

    def __iter__(self) -> Iterator[InheritedSocket]:
        return iter(self._sockets)

    def __len__(self) -> int:
        return len(self._sockets)

    def named(self, name: str) -> list[InheritedSocket]:
        """Those that are for *name*."""
        return [one for one in self._sockets if one.name == name]

    def hand_on(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Let the program that this process executes next take them, as this one did."""
        if not self._sockets:
            return
        for one in self._sockets:
            os.set_inheritable(one.descriptor, True)
        environment[PID] = str(os.getpid())
        environment[COUNT] = str(len(self._sockets))
        environment[NAMES] = ":".join(one.name for one in self._sockets)


def is_open_to_all(path: Path) -> bool:
    """Whether every user of this host may connect to the UNIX socket at *path*.

    False when it is not to be seen from here: it is then in a container's, or no more there.
    """
    try:
        mode = path.stat().st_mode
        folders = [parent.stat().st_mode for parent in path.parents]
    except OSError:
        return False
    return bool(mode & stat.S_IWOTH) and all(folder & stat.S_IXOTH for folder in folders)


def _number(told: MutableMapping[str, str], name: str) -> int:
    text = told[name]
    if not _NUMBER.fullmatch(text) or int(text) == 0:
        raise ConfigurationError(f"{name} is {text!r}, which is no number of sd_listen_fds(3)")
    return int(text)


def _purpose(name: str, count: int, names: Sequence[str]) -> str:
    if name in names:
        return name
    # systemd says "unknown", or the name of the unit, when the unit has none
    if name in ("", "unknown") or name.endswith(".socket"):
        if count == 1 or len(names) == 1:
            return names[0]
        raise ConfigurationError(
            f"{count} sockets were inherited, so each needs a name, {' or '.join(names)}: {_HOW}"
        )
    raise ConfigurationError(
        f"a socket was inherited for {name!r}; here they can be for {' or '.join(names)}: {_HOW}"
    )


def _listens_at(descriptor: int) -> Address:
    def refused(reason: str) -> ConfigurationError:
        return ConfigurationError(
            f"descriptor {descriptor}, which was inherited, {reason}: ListenStream= and Accept=no "
            "are needed, see systemd.socket(5)"
        )

    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        raise refused("is no socket")
    with socket.socket(fileno=os.dup(descriptor)) as it:
        if it.type != socket.SOCK_STREAM:
            raise refused("is no stream socket")
        if not it.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise refused("does not listen")
        where = it.getsockname()
        if it.family == socket.AF_UNIX:
            # one without a path, in the abstract namespace, has no permissions
            if isinstance(where, bytes) or not where.startswith("/"):
                raise refused("is a UNIX socket without an absolute path")
            return Address.of_socket(where)
        if it.family not in (socket.AF_INET, socket.AF_INET6):
            raise refused(f"is neither TCP nor UNIX (address family {it.family})")
        return Address(*where[:2])


def _network(it: socket.socket) -> bytes:
    return it.getsockopt(socket.SOL_SOCKET, _NETWORK_COOKIE, 8)
