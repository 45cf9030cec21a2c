"""How this machine reaches Debian's packages and PyPI, carried into the systems under test.

A machine in production reaches them as its image is set up to. One in a test has the way of the
machine that runs the tests: its sources, its certificate authorities, pip's settings. None of this
is in what is shipped.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

AUTHORITIES = Path("/usr/local/share/ca-certificates")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_TARGET = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)"


def debian_sources() -> list[tuple[str, str, str]]:
    """The sources of Debian's packages that this machine uses: address, release, component."""
    said = subprocess.run(
        ["apt-get", "indextargets", "--format", _TARGET, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = []
    for line in dict.fromkeys(said.splitlines()):
        address, release, component, origin = line.split(" ", 3)
        if origin == "Debian":
            found.append((address, release, component))
    assert found, "apt knows no sources of Debian here: apt-get update first"
    return found


def debian_mirror(suite: str) -> str:
    """Address of the packages of a release of Debian, as `debootstrap` wants it."""
    sources = debian_sources()
    named = [address for address, release, _ in sources if release == suite]
    return (named or [sources[0][0]])[0]


def sources_list(suite: str) -> str:
    """``sources.list`` for *suite*, with updates and security fixes when this machine has them."""
    lines = [
        f"deb [signed-by={KEYRING}] {address} {release} {component}\n"
        for address, release, component in debian_sources()
        if release.split("-")[0] == suite
    ]
    return "".join(lines or [f"deb [signed-by={KEYRING}] {debian_mirror(suite)} {suite} main\n"])


def carry_into(root: Path, suite: str) -> None:
    """Give the system below *root*, which has ca-certificates, the ways of this machine."""
    (root / "etc/apt/sources.list").write_text(sources_list(suite))
    for settings in Path("/etc/apt/apt.conf.d").glob("99*"):
        shutil.copy(settings, root / "etc/apt/apt.conf.d")
    for authority in AUTHORITIES.glob("*.crt"):
        shutil.copy(authority, root / "usr/local/share/ca-certificates")
    subprocess.run(
        ["chroot", root, "update-ca-certificates"], check=True, capture_output=True, text=True
    )
    (root / "etc/pip.conf").write_text(PIP_SETTINGS)


PIP_SETTINGS = f"[global]\ncert = {BUNDLE}\ndisable-pip-version-check = true\n"
"""pip brings authorities of its own and would not know this machine's."""
