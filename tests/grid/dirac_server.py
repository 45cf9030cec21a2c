"""A real DIRAC on loopback: configuration, file catalogue, storage, and its database.

It has a certification authority, and so certificates, of its own; nothing of it outlives a test.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from processes import LOOPBACK, ServerProcess, eventually, free_port

from tests.grid.certificates import Authority, run

TEMPLATES = Path(__file__).with_name("dirac")
SERVICES = {
    "configuration": "Configuration/Server",
    "catalog": "DataManagement/FileCatalog",
    "storage": "DataManagement/StorageElement",
    "status": "ResourceStatus/ResourceStatus",
}
STORAGE = "DQM-SE"


class DiracServer:
    """The services, from `start` to `stop`, and what their users need.

    Parameters
    ----------
    folder
        Gets everything that they write.
    environment
        Folder that ``install_dirac.sh`` made.

    Attributes
    ----------
    python : Path
        DIRAC's own.
    services : dict
        The process of each of `SERVICES`.
    variables : dict
        Environment variables of a user with a certificate; X509_USER_PROXY is the file of a proxy
        that is valid for a day.
    """

    def __init__(self, folder: Path, environment: Path) -> None:
        self.folder = folder
        self.bin = environment / "bin"
        self.python = self.bin / "python"
        self._security = folder / "etc" / "grid-security"
        self._ports = {f"{name}_port": free_port() for name in (*SERVICES, "database")}
        user = folder / "user"
        certificates = str(self._security / "certificates")
        self.variables = {
            "HOME": str(user),
            "DIRAC_ROOT_PATH": str(user),
            "DIRACSYSCONFIG": str(user / "dirac.cfg"),
            "X509_CERT_DIR": certificates,
            # where dirac-proxy-init looks as well
            "X509_USER_CERT": str(user / ".globus" / "usercert.pem"),
            "X509_USER_KEY": str(user / ".globus" / "userkey.pem"),
            "X509_USER_PROXY": str(user / "proxy.pem"),
        }
        self._database = ServerProcess(
            [
                _program("mariadbd"),
                "--no-defaults",
                f"--user={_user()}",
                f"--datadir={folder / 'mysql'}",
                # below the data folder: the path of a socket is at most 107 bytes long
                "--socket=mysql.sock",
                f"--port={self._ports['database_port']}",
                f"--bind-address={LOOPBACK}",
                f"--pid-file={folder / 'mysql.pid'}",
                "--innodb-buffer-pool-size=64M",
                "--sql-mode=",
            ],
            self._ports["database_port"],
            folder / "log" / "database.log",
        )
        ours = {
            "DIRAC_ROOT_PATH": str(folder),
            "DIRACSYSCONFIG": str(folder / "etc" / "dirac.cfg"),
            "X509_CERT_DIR": certificates,
        }
        self.services = {
            name: ServerProcess(
                [self.python, TEMPLATES / "service.py", service],
                self._ports[f"{name}_port"],
                folder / "log" / f"{name}.log",
                ours,
                folder / "work",
            )
            for name, service in SERVICES.items()
        }

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Set everything up and return when all services answer."""
        for name in ("etc", "log", "work", "storage", "user"):
            (self.folder / name).mkdir()
        self._make_certificates()
        self._write_configuration()
        self._start_database()
        for service in self.services.values():
            service.start()
        rows = ", ".join(
            f"('{STORAGE}','{access}Access','all','Active','test',NOW(),'2100-01-01',"
            "'StorageElement',NOW(),'rs_svc')"
            for access in ("Read", "Write", "Check", "Remove")
        )
        self._sql(
            "INSERT INTO ResourceStatus (Name,StatusType,VO,Status,Reason,DateEffective,"
            f"TokenExpiration,ElementType,LastCheckTime,TokenOwner) VALUES {rows}",
            "ResourceStatusDB",
        )
        self.make_proxy(Path(self.variables["X509_USER_PROXY"]), 86400)
        return self

    def stop(self) -> None:
        """Kill whatever of it runs."""
        for service in self.services.values():
            service.kill()
        self._database.kill()

    def make_proxy(self, path: Path, seconds: int) -> None:
        """A proxy of the user that is valid for so long, or has expired so long ago."""
        self._client("proxy", path, str(seconds))

    def upload(self, directory: str, files: Iterable[Path]) -> None:
        """Store *files* in a directory of the catalogue."""
        self._client("upload", directory, *files)

    def stored(self, lfn: str) -> Path:
        """Where the storage keeps a file: what is changed there, the catalogue does not notice."""
        return self.folder / "storage" / lfn.lstrip("/")

    def _client(self, *arguments: str | Path) -> None:
        words = map(str, [self.python, TEMPLATES / "client.py", *arguments])
        run(shlex.join(words), self.folder, variables=self.variables)

    def _make_certificates(self) -> None:
        authority = Authority(self.folder, self._security / "certificates")
        authority.sign("localhost", self._security / "hostcert.pem", self._security / "hostkey.pem")
        user = Path(self.variables["X509_USER_CERT"])
        user.parent.mkdir()
        authority.sign("dqmuser", user, Path(self.variables["X509_USER_KEY"]))

    def _write_configuration(self) -> None:
        values: Mapping[str, object] = self._ports | {
            "security": self._security,
            "storage": self.folder / "storage",
        }
        places = {
            "server.cfg": self.folder / "etc" / "dirac.cfg",
            "DQM.cfg": self.folder / "etc" / "DQM.cfg",
            "client.cfg": Path(self.variables["DIRACSYSCONFIG"]),
        }
        for name, place in places.items():
            template = string.Template((TEMPLATES / name).read_text())
            place.write_text(template.substitute(values))

    def _start_database(self) -> None:
        data = self.folder / "mysql"
        run(
            "{program} --no-defaults --user={user} --datadir={data} "
            "--auth-root-authentication-method=normal",
            self.folder,
            program=_program("mysql_install_db"),
            user=_user(),
            data=data,
        )
        self._database.start()
        eventually((data / "mysql.sock").exists, "a socket of the database")
        self._sql(
            "CREATE USER 'Dirac'@'%' IDENTIFIED BY 'dqmtest';"
            "CREATE USER 'Dirac'@'localhost' IDENTIFIED BY 'dqmtest';"
            "GRANT ALL ON *.* TO 'Dirac'@'%', 'Dirac'@'localhost';"
            "CREATE DATABASE FileCatalogDB; CREATE DATABASE ResourceStatusDB;"
        )
        place = "import importlib.util as u; print(u.find_spec('DIRAC').origin)"
        found = run("{python} -c {place}", self.folder, python=self.python, place=place)
        package = Path(found.strip()).parent
        tables = package / "DataManagementSystem" / "DB" / "FileCatalogDB.sql"
        self._sql(tables.read_text(), "FileCatalogDB")

    def _sql(self, statements: str, database: str = "mysql") -> None:
        run(
            "mysql --no-defaults --user=root --socket=mysql.sock {database}",
            self.folder / "mysql",
            given=statements,
            database=database,
        )


def _program(name: str) -> str:
    # Where servers are is not on the search path of every user.
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert found is not None, f"no {name} on this machine: see install_dirac.sh"
    return found


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
