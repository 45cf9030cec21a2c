# ruff: noqa: N999 (it is called so)
"""As much of DIRAC as `ingest.sources.dirac_worker` calls, with its shapes and its manners.

It prints to the standard output, and does what the last part of a path says. Each list that it is
given is a line of the file FAKE_DIRAC_LOG.
"""

from __future__ import annotations

import json
import os
import sys
import time
import types
from datetime import datetime
from pathlib import Path
from typing import Any

LOG = Path(os.environ["FAKE_DIRAC_LOG"])
MISSING_CONFIGURATION = Path(os.environ.get("FAKE_DIRAC_BROKEN", "/none"))
CALL_SECONDS = 0.2

Reply = dict[str, Any]


def initialize() -> None:
    print("INFO: DIRAC says hello")
    os.system("echo and so do its children")
    if MISSING_CONFIGURATION.exists():
        raise AttributeError("'NoneType' object has no attribute 'get'")


def ok(value: Any) -> Reply:
    return {"OK": True, "Value": value}


class Configuration:
    def useServerCertificate(self) -> bool:  # noqa: N802
        return "FAKE_DIRAC_HOST" in os.environ


def get_proxy_info(disableVOMS: bool) -> Reply:  # noqa: N803
    return ok({"secondsLeft": 86000, "path": "/proxy.pem"})


class FileCatalog:
    def listDirectory(self, path: str, verbose: bool) -> Reply:  # noqa: N802
        print("INFO: listing", path)
        if path.endswith("/hang"):
            time.sleep(3600)
        if path.endswith("/fail"):
            return {"OK": False, "Message": "FileCatalog error ( 1604 : from any catalog)"}
        if path.endswith("/raise"):
            raise AttributeError("no such attribute")
        known = {"Size": 5, "Checksum": "0000000a", "ChecksumType": "Adler32"}
        known["ModificationDate"] = datetime(2026, 1, 1, 12)
        odd = {"Size": 6, "Checksum": "None", "ChecksumType": None, "ModificationDate": None}
        files = {f"{path}/b": {"MetaData": odd}, f"{path}/a": {"MetaData": known}}
        found = {"Files": files, "SubDirs": {f"{path}/c": {}}, "Links": {f"{path}/l": {}}}
        return ok({"Successful": {path: found}, "Failed": {}})


class DataManager:
    def getFile(self, paths: list[str], destinationDir: str) -> Reply:  # noqa: N802, N803
        with LOG.open("a") as log:
            log.write(json.dumps(paths) + "\n")
        time.sleep(CALL_SECONDS)
        good, bad = {}, {}
        for path in paths:
            name = path.rpartition("/")[2]
            place = Path(destinationDir) / name
            place.write_bytes(path.encode())
            if name == "raise":
                raise ValueError("unexpected")
            if name == "hang":
                time.sleep(3600)
            if name == "size":
                bad[path] = "Bad file size ( 1601 : downloaded = 1, catalog = 2)"
            elif name == "denied":
                bad[path] = "Permission denied"
            elif name != "forgotten":
                good[path] = str(place)
        return ok({"Successful": good, "Failed": bad})


def module(name: str, **contents: object) -> None:
    made = types.ModuleType(f"DIRAC.{name}")
    vars(made).update(contents)
    sys.modules[made.__name__] = made


module("ConfigurationSystem.Client.ConfigurationData", gConfigurationData=Configuration())
module("Core.Security.ProxyInfo", getProxyInfo=get_proxy_info)
module("Resources.Catalog.FileCatalog", FileCatalog=FileCatalog)
module("DataManagementSystem.Client.DataManager", DataManager=DataManager)
