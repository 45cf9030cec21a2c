"""What `dqm cloud-init` takes for a key, a hash, a host, a release or a source, and what not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from cloud_init_calls import (
    B64,
    DIGEST,
    ECDSA,
    KEY,
    SHA512,
    YESCRYPT,
    file,
    made,
    refused,
    settings,
)
from hypothesis import given
from hypothesis import strategies as st

from dqm.cloud_init import values
from dqm.cloud_init.commands import cloud_init
from dqm_db.errors import ConfigurationError


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
