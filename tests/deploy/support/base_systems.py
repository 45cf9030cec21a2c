"""File systems of Debian as its cloud images and its slim container image have them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.support import host_ways
from tests.deploy.support.cache import cached, remove_tree

CLOUD_IMAGE = (
    "apt-utils", "ca-certificates", "cloud-init", "curl", "dbus", "ifupdown", "iproute2",
    "iputils-ping", "isc-dhcp-client", "libpam-systemd", "locales", "netbase", "openssh-server",
    "procps", "python3", "sudo", "systemd-sysv", "udev",
)  # fmt: skip
"""What images for virtual machines bring, but for the kernel. Neither nftables nor venv, which
user-data has to ask for."""

_CLOUD_SETTINGS = """\
# as in Debian's own images
apt: {preserve_sources_list: true}
datasource_list: [NoCloud, None]
"""


@dataclass(frozen=True)
class BaseSystem:
    """A release of Debian and what is installed in it, made by `debootstrap` and kept.

    Attributes
    ----------
    name
        Of the folder in the cache.
    suite
        Codename of the release.
    packages
        Beside the essential ones.
    without
        Folders below its root that are removed.
    """

    name: str
    suite: str
    packages: Sequence[str] = ()
    without: Sequence[str] = ()

    def folder(self) -> Path:
        """Its root, which nobody changes; made in two minutes when it is not there yet."""
        ways = host_ways.sources_list(self.suite) + host_ways.PIP_SETTINGS
        recipe = "\n".join(
            [Path(__file__).read_text(), self.suite, *self.packages, *self.without, ways]
        )
        return cached(self.name, recipe, self._build)

    def _build(self, root: Path) -> None:
        _run("debootstrap", "--variant=minbase", "--include=ca-certificates", self.suite, root,
             host_ways.debian_mirror(self.suite))  # fmt: skip
        host_ways.carry_into(root, self.suite)
        if self.packages:
            # debootstrap does not resolve virtual packages, so that apt installs the rest
            self._install(root)
        for name in self.without:
            for folder in root.glob(name):
                remove_tree(folder)
        for lists in (root / "var/lib/apt/lists").iterdir():
            remove_tree(lists) if lists.is_dir() else lists.unlink()
        for archive in (root / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
        for key in (root / "etc/ssh").glob("ssh_host_*"):
            key.unlink()  # each machine makes its own
        (root / "etc/machine-id").write_text("")
        (root / "etc/fstab").write_text("")
        (root / "etc/hostname").unlink(missing_ok=True)
        (root / "etc/resolv.conf").unlink(missing_ok=True)
        if "cloud-init" in self.packages:
            (root / "etc/cloud/cloud.cfg.d/01_image.cfg").write_text(_CLOUD_SETTINGS)

    def _install(self, root: Path) -> None:
        no_services = root / "usr/sbin/policy-rc.d"
        no_services.write_text("#!/bin/sh\nexit 101\n")
        no_services.chmod(0o755)
        _run("mount", "-t", "proc", "proc", root / "proc")
        try:
            (root / "etc/resolv.conf").write_text(Path("/etc/resolv.conf").read_text())
            _run("chroot", root, "apt-get", "update", "-qq")
            _run("chroot", root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install",
                 "-qq", "-y", "--no-install-recommends", *self.packages)  # fmt: skip
        finally:
            _run("umount", root / "proc")
        no_services.unlink()


CLOUD = BaseSystem("bookworm-cloud", "bookworm", CLOUD_IMAGE)
SLIM = BaseSystem(
    "bookworm-slim",
    "bookworm",
    without=("usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man"),
)
"""But for the certificate authorities, which Debian's image does not bring; how else would it get
the packages of an image from this machine's sources?"""


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}"
