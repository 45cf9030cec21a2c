"""`dqm cloud-init`: what goes into user-data, and that nothing else gets in."""

from __future__ import annotations

import re
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from dqm.cloud_init import values
from dqm.cloud_init.commands import cloud_init
from dqm.cloud_init.filling import PLACEHOLDER, UnusableTemplate, UserDataTooLarge, fill_in
from dqm.shipped import shipped
from dqm.variables import known_variables
from dqm_db.errors import ConfigurationError
from ingest.errors import OutputExists, OutputUnwritable

KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFoAC2s18IPWGgihMwxwOu+UhC0BXmYF0HERoDXIB2GW me@DESK@home"
)
ECDSA = (
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBNY2vSBAMBTd18rXgg1S"
    "OB3Ek3k6QxY4hJ/YrGbxxFDqP9zG2CYwHoX3cKbJ5C50PamA6KBY6x7MuJ8m0ZT0UiQ="
)
B64 = "abcdefgh" * 11
YESCRYPT = f"$y$j9T${B64[:22]}${B64[:43]}"
SHA512 = f"$6$saltsalt${B64[:86]}"
DIGEST = "0123456789abcdef" * 4
ROLES = ("rw", "ro")


def template(role: str) -> str:
    return (shipped("cloud-init") / f"dqm-web-app-{role}_cloud-init.yml").read_text()


def call(role: str = "rw", **changes: str | Sequence[str] | None) -> Result:
    """The command with options that are in order, but for *changes*."""
    options: dict[str, Any] = {
        "ssh_key": KEY,
        "password_hash": YESCRYPT,
        "primary": "dqm-rw.example.org",
        "secondary": "10.8.0.2",
        "release": "https://example.org/dqm/0.1.0",
        "release_sha256": DIGEST,
        **changes,
    }
    arguments = ["--role", role]
    for name, value in options.items():
        for one in [value] if isinstance(value, str) else value or []:
            arguments += [f"--{name.replace('_', '-')}", one]
    return CliRunner().invoke(cloud_init, arguments)


def made(role: str = "rw", **changes: str | Sequence[str] | None) -> dict[str, Any]:
    done = call(role, **changes)
    assert done.exit_code == 0, done.exception
    return yaml.safe_load(done.stdout)


def refused(role: str = "rw", **changes: str | Sequence[str] | None) -> str:
    done = call(role, **changes)
    assert isinstance(done.exception, ConfigurationError), done.output
    assert done.stdout == ""
    return str(done.exception)


def file(data: dict[str, Any], path: str) -> str:
    [content] = [one["content"] for one in data["write_files"] if one["path"] == path]
    return content


def settings(text: str) -> dict[str, str]:
    """What a file of settings says, as systemd and shells read it."""
    lines = [line.partition("=") for line in text.splitlines() if line[0] != "#"]
    return {name: value.strip('"') for name, _, value in lines}


@pytest.mark.parametrize("role", ROLES)
def test_each_placeholder_is_explained_and_filled_in(role: str) -> None:
    text = template(role)
    explained, _, body = text.partition("\n\n")
    assert all(line.startswith("#") for line in explained.splitlines())
    used = set(PLACEHOLDER.findall(body))
    assert set(PLACEHOLDER.findall(explained)) == used
    done = call(role, ssh_key=ECDSA)
    assert not PLACEHOLDER.search(done.stdout)
    assert done.stdout.startswith("#cloud-config\n# Made by `dqm cloud-init`")
    assert "replace each of them" not in done.stdout
    assert f"{len(done.stdout.encode())} bytes of user-data" in done.stderr


def test_the_machine_rw() -> None:
    data = made(source=["dirac:/ctao/dqm", "/srv/results"])
    assert (data["hostname"], data["fqdn"]) == ("dqm-rw.example.org",) * 2
    [user] = data["users"]
    assert user["name"] == "nectarcam"
    assert user["passwd"] == YESCRYPT
    assert user["ssh_authorized_keys"] == [KEY]
    assert not data["ssh_pwauth"]
    assert data["disable_root"]
    said = settings(file(data, "/etc/nectarcam-dqm/dqm.env"))
    assert said["DQM_SERVERS"] == "dqm-rw.example.org:8100,10.8.0.2:8100"
    assert said["DQM_DB_URL"] == "zeo://dqm-rw.example.org:8100,10.8.0.2:8100"
    assert said["DQM_INGEST_SOURCES"] == "dirac:/ctao/dqm /srv/results"
    host = settings(file(data, "/etc/nectarcam-dqm/host.env"))
    assert host == {
        "ROLE": "rw",
        "WITH": "venv",
        "PRIMARY": "dqm-rw.example.org",
        "SECONDARY": "10.8.0.2",
        "RELEASE": "https://example.org/dqm/0.1.0",
        "RELEASE_SHA256": DIGEST,
    }
    assert data["runcmd"][-1] == ["/usr/local/sbin/dqm-install"]  # whose exit code counts


def test_the_machine_ro() -> None:
    data = made("ro", secondary="[2001:DB8::2]", with_=None, server_name="DQM.example.org")
    assert data["hostname"] == "dqm-ro"
    said = settings(file(data, "/etc/nectarcam-dqm/dqm.env"))
    assert said["DQM_SERVERS"] == "dqm-rw.example.org:8100,[2001:db8::2]:8100"
    assert said["DQM_PRIMARY"] == "dqm-rw.example.org:5000"
    assert said["DQM_ALLOWED_ORIGINS"] == "dqm.example.org"
    host = settings(file(data, "/etc/nectarcam-dqm/host.env"))
    assert host["SECONDARY"] == "2001:db8::2"
    assert settings(file(data, "/etc/nectarcam-dqm/web/site.env"))["DQM_WEB_NAME"] == (
        "dqm.example.org"
    )


@pytest.mark.parametrize("role", ROLES)
def test_settings_of_machines_exist(role: str) -> None:
    data = made(role)
    for path in ("/etc/nectarcam-dqm/dqm.env", "/etc/nectarcam-dqm/dashboard.env"):
        if role == "ro" or "dashboard" not in path:
            assert settings(file(data, path)).keys() <= known_variables()


def test_the_site_has_the_values_of_its_template() -> None:
    site = (shipped("nginx") / "dqm.conf.template").read_text()
    wanted = set(re.findall(r"\$\{(DQM_WEB_\w+)\}", site))
    assert settings(file(made("ro"), "/etc/nectarcam-dqm/web/site.env")).keys() == wanted


def test_what_both_machines_share_is_the_same() -> None:
    both = [made(role) for role in ROLES]
    for path in (
        "/etc/ssh/sshd_config.d/10-nectarcam-dqm.conf",
        "/etc/apt/apt.conf.d/52nectarcam-dqm",
        "/etc/systemd/journald.conf.d/nectarcam-dqm.conf",
        "/usr/local/sbin/dqm-install",
    ):
        assert file(both[0], path) == file(both[1], path)
    walls = [file(data, "/etc/nftables.conf") for data in both]
    assert walls[0] == walls[1].replace("{ 22, 443 }", "22")


@pytest.mark.parametrize("role", ROLES)
def test_nothing_listens_on_more_than_needed(role: str) -> None:
    wall = file(made(role), "/etc/nftables.conf")
    open_to_all = re.findall(r"^ +tcp dport (.*) accept$", wall, re.MULTILINE)
    assert open_to_all == ["22" if role == "rw" else "{ 22, 443 }"]
    assert len(re.findall(r"policy drop", wall)) == 2


def test_one_machine_may_be_named_by_its_hostname() -> None:
    data = made("rw", primary=None, hostname="here.example.org")
    assert settings(file(data, "/etc/nectarcam-dqm/host.env"))["PRIMARY"] == "here.example.org"
    assert "give --primary HOST, the name or address of this machine" in refused(primary=None)
    assert "give --secondary HOST, the name or address of the other" in refused(secondary=None)
    assert "are both" in refused(secondary="DQM-rw.example.org")


def test_restarts_after_updates() -> None:
    path = "/etc/apt/apt.conf.d/52nectarcam-dqm"
    assert 'Automatic-Reboot "true"' in file(made(), path)
    assert 'Automatic-Reboot-Time "04:05"' in file(made(reboot="04:05"), path)
    assert 'Automatic-Reboot "false"' in file(made(reboot="off"), path)
    for wrong in ("24:00", "4:05", "never", '04:05";'):
        assert "neither HH:MM nor off" in refused(reboot=wrong)


def test_keys_come_from_files_too(tmp_path: Path) -> None:
    keys = tmp_path / "authorized_keys"
    keys.write_text(f"# of the shift\n{ECDSA} shift\n\n{KEY}\n")
    [user] = made(ssh_key=[str(keys), KEY])["users"]
    assert user["ssh_authorized_keys"] == [f"{ECDSA} shift", KEY]
    assert "cannot read the file" in refused(ssh_key=str(tmp_path / "none.pub"))
    keys.write_text("\n")
    assert "there is no key in" in refused(ssh_key=str(keys))
    keys.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\n")
    assert "that is a private key" in refused(ssh_key=str(keys))


@pytest.mark.parametrize(
    "key",
    [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFoAC2s18IPWGgihMwxwOu me",  # cut off
        "ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== me",  # of another type
        "ssh-ed25519 !!!! me",
        "ssh-what AAAA me",
        'command="x" ' + KEY,
        KEY + '"\n      - "' + ECDSA,
        KEY + '", "x',
        KEY + "\\n",
    ],
)
def test_keys_that_are_none(key: str) -> None:
    assert refused(ssh_key=key).startswith("--ssh-key: ")


def test_short_rsa_keys_are_refused() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    formats = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    for bits, fine in ((2048, False), (3072, True)):
        key = rsa.generate_private_key(65537, bits).public_key().public_bytes(*formats).decode()
        if fine:
            assert values.ssh_key(key, "it") == key
        else:
            with pytest.raises(ConfigurationError, match="RSA keys need 3072 bits"):
                values.ssh_key(key, "it")


@pytest.mark.parametrize(
    "hashed",
    [
        YESCRYPT,
        YESCRYPT.replace("$y$", "$gy$"),
        SHA512,
        f"$6$rounds=50000$saltsalt${B64[:86]}",
        f"$5$saltsalt${B64[:43]}",
        f"$7${B64[:30]}${B64[:43]}",
        f"$2b$12${B64[:53]}",
    ],
)
def test_hashes_that_are_safe(hashed: str) -> None:
    assert made(password_hash=hashed)["users"][0]["passwd"] == hashed


@pytest.mark.parametrize(
    ("hashed", "said"),
    [
        ("secret", "passwords themselves are not accepted"),
        ("", "passwords themselves are not accepted"),
        ("!", "passwords themselves are not accepted"),
        ("$6$saltsalt$short", "not complete"),
        (f"$5$saltsalt${B64[:86]}", "not complete"),
        (f"$6$rounds=1000$saltsalt${B64[:86]}", "too few rounds"),
        (f"$2b$05${B64[:53]}", "too few rounds"),
        (f"$1$saltsalt${B64[:22]}", "too weak"),
        (f"$md5,rounds=9$salt${B64[:22]}", "too weak"),
        (f"$sha1$1000$salt${B64[:28]}", "too weak"),
        ("_J9..rasmBYk8r9AiWNc", "too weak"),
        ("abJnggxhB/yWI", "too weak"),  # DES
        (SHA512 + '"\nruncmd: [reboot]\n#', "passwords themselves are not accepted"),
        (SHA512[:-1] + '"', "passwords themselves are not accepted"),
    ],
)
def test_passwords_and_weak_hashes_are_refused(hashed: str, said: str) -> None:
    text = refused(password_hash=hashed)
    assert said in text
    assert len(hashed) < 2 or hashed not in text  # it may be somebody's password


def test_a_hash_is_read_from_the_standard_input() -> None:
    arguments = call_arguments(password_hash="-")
    done = CliRunner().invoke(cloud_init, arguments, input=f"{SHA512}\n")
    assert yaml.safe_load(done.stdout)["users"][0]["passwd"] == SHA512


def call_arguments(**changes: str) -> list[str]:
    options = {
        "role": "rw",
        "ssh-key": KEY,
        "primary": "a.example.org",
        "secondary": "b.example.org",
        "release": "https://example.org/dqm",
        "release-sha256": DIGEST,
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


@pytest.mark.parametrize(
    "host",
    [
        "", " ", "-x", "a_b", "a..b", "a b", "10.0.0.256", "10.0.0.0/8", "a:8100", "http://a",
        "localhost", "127.0.0.1", "::1", "0.0.0.0", "fe80::1", "fe80::1%eth0", "224.0.0.1",
        'a"\nx: y', "$(reboot)", "@PRIMARY@", "ä.example.org",
    ],
)  # fmt: skip
def test_hosts_that_are_none(host: str) -> None:
    for option in ("primary", "secondary"):
        assert refused(**{option: host})


def test_the_site_needs_a_name() -> None:
    for wrong in ("10.8.0.2", "*.example.org", "a b", 'x";', "${HOME}"):
        assert "is no host name" in refused("ro", server_name=wrong)


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ("http://example.org/dqm", "neither https"),
        ("example.org/dqm", "neither https"),
        ("file://host/srv", "neither https"),
        ("file:srv", "neither https"),
        ("https://me:secret@example.org/dqm", "no credentials"),
        ("https://example.org/dqm?token=1", "no credentials"),
        ("https://example.org/dqm#x", "no credentials"),
        ("https://example.org:port/dqm", "is no address"),
        ("https://example.org/$(reboot)", "meaning of their own"),
        ('https://example.org/"', "meaning of their own"),
        ("https://example.org/a b", "meaning of their own"),
        ("https://example.org/a\nb", "no credentials"),
        ("https://127.0.0.1/dqm", "another machine"),
        ("https://-x/dqm", "no host name"),
    ],
)
def test_releases_that_are_none(release: str, said: str) -> None:
    assert said in refused(release=release)


@pytest.mark.parametrize(
    "release",
    [
        "https://example.org",
        "https://example.org:8443/a/b-1.2_3/~x/%20",
        "https://[2001:db8::1]/dqm",
        "https://10.8.0.9:8443/dqm",
        "file:///srv/release",
    ],
)
def test_releases(release: str) -> None:
    data = made(release=release + "/")
    assert settings(file(data, "/etc/nectarcam-dqm/host.env"))["RELEASE"] == release


def test_the_digest_of_a_release(tmp_path: Path) -> None:
    sums = tmp_path / "SHA256SUMS"
    sums.write_bytes(b"hello\n")
    data = made(release_sha256=str(sums))
    assert settings(file(data, "/etc/nectarcam-dqm/host.env"))["RELEASE_SHA256"] == (
        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    )
    for wrong in ("abc", DIGEST[:-1], DIGEST + "0", "g" * 64):
        assert "is no SHA-256" in refused(release_sha256=wrong)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("results", "is no source"),
        ("gopher://example.org/", "is no source"),
        ("/srv/a b", "meaning of their own"),
        ('/srv/"', "meaning of their own"),
        ("https://example.org/$HOME", "meaning of their own"),
        ("https://example.org/`id`", "meaning of their own"),
        ("https://example.org/\n- x", "meaning of their own"),
        ("https://me:secret@example.org/", "passwords have no place"),
    ],
)
def test_sources_that_are_none(source: str, said: str) -> None:
    assert said in refused(source=source)


def test_what_is_written_is_for_its_owner(tmp_path: Path) -> None:
    output = tmp_path / "rw.yml"
    done = call(output=str(output))
    assert done.exit_code == 0
    assert done.stdout == ""
    assert output.read_text() == call().stdout
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert isinstance(call(output=str(output)).exception, OutputExists)
    assert isinstance(call(output=str(tmp_path / "no" / "rw.yml")).exception, OutputUnwritable)


def own(tmp_path: Path, text: str) -> Result:
    path = tmp_path / "own.yml"
    path.write_text(text)
    return call(template=str(path))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("#cloud-config\n", "", "its first line is not"),
        ("timezone: Etc/UTC", "timezoen: Etc/UTC", "would pass over timezoen"),
        ("timezone: Etc/UTC", "timezone: @ZONE@", "it is no YAML"),
        ("timezone: Etc/UTC", 'timezone: "@ZONE@"', "there is no value for @ZONE@"),
        ("timezone: Etc/UTC", "packages: [jq]", "the key packages is there twice"),
        ("timezone: Etc/UTC", "timezone: [", "it is no YAML"),
        ('      - "@SSH_KEY@"', "      - 'it is @SSH_KEY@ and more'", "needs a line of its own"),
        ('"@HOSTNAME@"\nfqdn', "x @HOSTNAME@\nfqdn", ""),
    ],
)
def test_own_templates(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = template("rw")
    assert text.count(old) == 1
    done = own(tmp_path, text.replace(old, new))
    if said:
        assert isinstance(done.exception, UnusableTemplate)
        assert said in str(done.exception)
        assert "own.yml" in str(done.exception)
    else:
        assert yaml.safe_load(done.stdout)["hostname"] == "x dqm-rw.example.org"


def test_templates_that_say_too_much(tmp_path: Path) -> None:
    done = own(tmp_path, template("rw") + f'\nfinal_message: "{"x" * 16_384}"\n')
    assert isinstance(done.exception, UserDataTooLarge)
    assert isinstance(own(tmp_path, "#cloud-config\nonly text").exception, UnusableTemplate)


def scripts() -> list[tuple[str, str]]:
    """The shell scripts that are shipped, by name."""
    found = []
    for path in sorted(shipped("cloud-init").iterdir()):
        text = path.read_text()
        if text.startswith("#!/bin/bash") or path.suffix == ".sh":
            found.append((path.name, text))
    return [*found, ("dqm-install", file(made(), "/usr/local/sbin/dqm-install"))]


def test_scripts_can_be_read(tmp_path: Path) -> None:
    found = scripts()
    assert {"install.sh", "dqm-venv", "dqm-containers", "dqm-firewall"} <= {n for n, _ in found}
    for name, text in found:
        (tmp_path / name).write_text(text)
        read = ["bash", "-n", str(tmp_path / name)]
        done = subprocess.run(read, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), name


def test_each_way_to_install_does_each_step() -> None:
    """`install.sh` calls what the file of the flavour has to define."""
    called = re.findall(r"^(program|units|services)$", dict(scripts())["install.sh"], re.MULTILINE)
    for flavour in ("venv", "containers"):
        defined = re.findall(
            r"^(\w+)\(\) \{$", dict(scripts())[f"install-{flavour}.sh"], re.MULTILINE
        )
        assert set(called) == {"program", "units", "services"} <= set(defined)
        assert (shipped("cloud-init") / f"dqm-{flavour}").is_file()


TEMPLATE = """\
#cloud-config
hostname: "@A@"
fqdn: '@A@ and @B@'
packages:
  - "@LIST@"
write_files:
  - path: /x
    content: |
      A="@A@"
      @B@
"""


@given(
    st.fixed_dictionaries(
        {"A": st.text(max_size=40), "B": st.text(max_size=40),
         "LIST": st.lists(st.text(max_size=40), max_size=3)}
    )
)  # fmt: skip
def test_no_value_can_change_anything_else(given: dict[str, Any]) -> None:
    """Even of values that nobody has checked: they are strings in the result, or it is refused."""
    try:
        text = fill_in(TEMPLATE, given, "it")
    except UnusableTemplate:
        return
    found = yaml.safe_load(text)
    assert found.keys() == {"hostname", "fqdn", "packages", "write_files"}
    assert found["hostname"] == given["A"]
    assert found["fqdn"] == f"{given['A']} and {given['B']}"
    assert (found["packages"] or []) == given["LIST"]
    assert found["write_files"] == [{"path": "/x", "content": f'A="{given["A"]}"\n{given["B"]}\n'}]


@given(st.text(max_size=60), st.sampled_from([
    values.host, values.host_name, values.release, values.source, values.password_hash,
    values.ssh_key, values.sha256, values.reboot_time,
]))  # fmt: skip
def test_what_is_let_through_means_nothing_to_anybody(text: str, check: Any) -> None:
    try:
        passed = check(text, "it")
    except ConfigurationError as error:
        assert "\n" not in str(error)
        return
    assert passed.isprintable()
    allowed = "$" if check is values.password_hash else ""
    assert not set(passed) & (set("\"'\\`$;|<>*!#\n\t") - set(allowed))


@given(st.from_regex(r"\A(https|file)://[ -~]{0,30}\Z"))
def test_addresses_are_taken_as_they_are(text: str) -> None:
    try:
        passed = values.release(text, "it")
    except ConfigurationError:
        return
    assert passed == text.strip().rstrip("/")
