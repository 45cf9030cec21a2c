"""`dqm cloud-init`: what goes into user-data, and that nothing else gets in."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from cloud_init_calls import (
    DIGEST,
    ECDSA,
    KEY,
    ROLES,
    YESCRYPT,
    call,
    file,
    made,
    refused,
    settings,
    template,
)
from hypothesis import given
from hypothesis import strategies as st

from dqm.cloud_init.filling import PLACEHOLDER, UnusableTemplate, UserDataTooLarge, fill_in
from dqm.shipped import shipped
from dqm.variables import known_variables
from ingest.errors import OutputExists, OutputUnwritable


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


def test_users_log_in_unless_it_is_said() -> None:
    path = "/etc/nectarcam-dqm/dqm.env"
    text = file(made("ro"), path)
    assert "DQM_AUTH" not in settings(text) and "\n#DQM_AUTH=none\n" in text
    open_to_all = file(made("ro", no_login=True), path)
    assert open_to_all == text.replace("#DQM_AUTH", "DQM_AUTH")
    assert "--no-login is for --role ro" in refused("rw", no_login=True)


def test_an_own_template_may_not_pass_over_no_login(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    path.write_text(template("ro").replace("#DQM_AUTH=none", "# nothing"))
    done = call("ro", template=str(path), no_login=True)
    assert isinstance(done.exception, UnusableTemplate)
    assert "own.yml: it has no line `#DQM_AUTH=none`" in str(done.exception)


@pytest.mark.parametrize("no_login", [False, True])
def test_both_at_once_are_as_each_alone(tmp_path: Path, no_login: bool) -> None:
    names = {"server_name": "dqm.example.org", "source": "/srv/results"}
    done = call("both", output=str(tmp_path), no_login=no_login, **names)
    assert (done.exit_code, done.stdout) == (0, "")
    for role in ROLES:
        alone = call(role, no_login=no_login and role == "ro", **names).stdout
        file = tmp_path / f"{role}.yml"
        assert file.read_text() == alone
        assert f"{file}: {len(alone.encode())} bytes of user-data" in done.stderr
    assert isinstance(call("both", output=str(tmp_path)).exception, OutputExists)
    for option in ("hostname", "template"):
        own = {option: str(tmp_path / "rw.yml")}
        assert f"--{option} is of one machine" in refused("both", output=str(tmp_path), **own)
    assert "give --secondary HOST" in refused("both", secondary=None)


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
