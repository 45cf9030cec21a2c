"""Checks what is put into user-data, each value for what it is.

Values end up in YAML, in files that shells and systemd read, and in the configuration of nginx.
Each check lets only those characters through that have no meaning in any of these.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from dqm_db.errors import ConfigurationError
from ingest.sources import SCHEMES

SHORTEST_RSA = 3072
"""Bits; what is recommended for new keys until 2030 (NIST SP 800-57)."""

FEWEST_ROUNDS = 5000
"""Of the hashes $5$ and $6$: the default of crypt(5)."""

LEAST_COST = 10
"""Of bcrypt, as a power of two."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_NAME = 253
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._~%+/-]+")
_SOURCE = re.compile(r"[A-Za-z0-9._~%+/:@=,&?{}\[\]-]+")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):")
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_B64 = "[./0-9A-Za-z]"
_HASHES = (  # crypt(5), libxcrypt
    rf"\$(?P<sha>[56])\$(rounds=(?P<rounds>\d{{1,9}})\$)?{_B64}{{1,16}}\$(?P<digest>{_B64}+)",
    rf"\$g?y\${_B64}{{3,}}\${_B64}{{8,86}}\${_B64}{{43}}",  # yescrypt
    rf"\$7\${_B64}{{11,97}}\${_B64}{{43}}",  # scrypt
    rf"\$2[aby]\$(?P<cost>\d\d)\${_B64}{{53}}",  # bcrypt
)
_DIGEST_LENGTHS = {"5": 43, "6": 86}
_HOW_TO_HASH = "make one with `mkpasswd --method=yescrypt` or `openssl passwd -6`"


def ssh_key(line: str, purpose: str) -> str:
    """A line of a public key for ssh: its type, key and comment.

    Raises
    ------
    ConfigurationError
        It is none, or of a kind that is too weak.
    """
    line = line.strip()
    if "PRIVATE KEY" in line:
        raise ConfigurationError(
            f"{purpose}: that is a private key, which stays where it is; give the public one, .pub"
        )
    words = line.split(None, 2)
    if len(words) < 2:
        raise ConfigurationError(
            f"{purpose}: {line!r} is neither a public key for ssh nor a file with one"
        )
    kind, body, comment = words[0], words[1], words[2] if len(words) > 2 else ""
    try:
        key = serialization.load_ssh_public_key(f"{kind} {body}".encode("ascii"))
    except (ValueError, UnsupportedAlgorithm, UnicodeEncodeError) as error:
        raise ConfigurationError(
            f"{purpose}: {line!r} is no public key for ssh such as `ssh-ed25519 AAAA… me@desk`"
        ) from error
    if isinstance(key, dsa.DSAPublicKey):
        raise ConfigurationError(f"{purpose}: {kind} is not accepted by servers any more")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SHORTEST_RSA:
        raise ConfigurationError(
            f"{purpose}: RSA keys need {SHORTEST_RSA} bits, this one has {key.key_size}"
        )
    if not comment.isprintable() or set(comment) & set("\"'\\$`"):
        raise ConfigurationError(
            f"{purpose}: the comment {comment!r} has characters with a meaning of their own"
        )
    return " ".join(filter(None, (kind, body, comment)))


def password_hash(text: str, purpose: str) -> str:
    """The hash of a password, by a method that is still safe; errors never show what it is.

    Raises
    ------
    ConfigurationError
        It is a password, or a hash by a weak method.
    """
    text = text.strip()
    found = next((match for pattern in _HASHES if (match := re.fullmatch(pattern, text))), None)
    if found is None:
        weak = re.match(r"\$(1|md5|sha1|3)[$,]|_", text) or re.fullmatch(rf"{_B64}{{13}}", text)
        raise ConfigurationError(
            f"{purpose}: that is the hash of a method that is too weak; {_HOW_TO_HASH}"
            if weak
            else f"{purpose}: that is no hash of a password, and passwords themselves are not "
            f"accepted; {_HOW_TO_HASH}"
        )
    groups = found.groupdict()
    sha = groups.get("sha")
    if sha and len(groups["digest"]) != _DIGEST_LENGTHS[sha]:
        raise ConfigurationError(f"{purpose}: the hash is not complete; {_HOW_TO_HASH}")
    few = int(groups.get("rounds") or FEWEST_ROUNDS) < FEWEST_ROUNDS
    if few or int(groups.get("cost") or LEAST_COST) < LEAST_COST:
        raise ConfigurationError(f"{purpose}: the hash has too few rounds; {_HOW_TO_HASH}")
    return text


def host_name(text: str, purpose: str) -> str:
    """A name of DNS, in lower case.

    Raises
    ------
    ConfigurationError
    """
    name = text.strip().lower()
    labels = name.split(".")
    if len(name) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise ConfigurationError(
            f"{purpose}: {text!r} is no host name; names have letters, digits, hyphens and dots "
            "(international ones begin with xn--)"
        )
    return name


def host(text: str, purpose: str) -> str:
    """A name or an address by which another machine can be reached; IPv6 without brackets.

    Raises
    ------
    ConfigurationError
        It is neither, or means the machine itself.
    """
    bare = text.strip().lower()
    bare = bare[1:-1] if bare.startswith("[") and bare.endswith("]") else bare
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        name = host_name(bare, purpose)
        if name.split(".")[-1] == "localhost":
            raise ConfigurationError(
                f"{purpose}: {text!r} is no name by which another machine reaches this one"
            ) from None
        return name
    if (
        address.is_loopback
        or address.is_unspecified
        or address.is_multicast
        or address.is_link_local
    ):
        raise ConfigurationError(
            f"{purpose}: {text!r} is no address by which another machine reaches this one"
        )
    return str(address)


def is_name(one: str) -> bool:
    """Whether a host of `host` is a name, and no address."""
    return ":" not in one and not one.rpartition(".")[2].isdigit()


def bracketed(one: str) -> str:
    """A host of `host` as it stands before a port."""
    return f"[{one}]" if ":" in one else one


def release(text: str, purpose: str) -> str:
    """Address of a folder: ``https://…`` or ``file:///…``, without the slash at its end.

    Raises
    ------
    ConfigurationError
    """
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{purpose}: {text!r} is no address ({error})") from error
    if parts.scheme == "https" and parts.hostname:
        host(parts.hostname, purpose)
        whose = bracketed(parts.hostname) + (f":{port}" if port else "")
    elif parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        whose = ""
    else:
        raise ConfigurationError(
            f"{purpose}: {text!r} is neither https://… nor file:///… with the folder of a release"
        )
    path = parts.path
    if parts.netloc.lower() != whose or f"{parts.scheme}://{parts.netloc}{path}" != url:
        raise ConfigurationError(
            f"{purpose}: {text!r} has more than host, port and path; no credentials there"
        )
    if path and not _PLAIN_PATH.fullmatch(path):
        raise ConfigurationError(
            f"{purpose}: {text!r} has characters with a meaning of their own; write %XX"
        )
    return url


def sha256(text: str, purpose: str) -> str:
    """A SHA-256 in hexadecimal digits.

    Raises
    ------
    ConfigurationError
    """
    digest = text.strip().lower()
    if not _SHA256.fullmatch(digest):
        raise ConfigurationError(
            f"{purpose}: {text!r} is no SHA-256; `sha256sum SHA256SUMS` prints 64 digits"
        )
    return digest


def source(text: str, purpose: str) -> str:
    """A folder or URL of `DQM_INGEST_SOURCES`.

    Raises
    ------
    ConfigurationError
        It is none, or would not survive where it is written.
    """
    text = text.strip()
    scheme = _SCHEME.match(text)
    if (scheme[1] not in SCHEMES) if scheme else not text.startswith("/"):
        raise ConfigurationError(
            f"{purpose}: {text!r} is no source; it begins with / or one of {', '.join(SCHEMES)}"
        )
    if not _SOURCE.fullmatch(text):
        raise ConfigurationError(
            f"{purpose}: {text!r} has characters that have a meaning of their own, or blanks"
        )
    if "@" in text and re.search(r"//[^/@]*:[^/@]*@", text):
        raise ConfigurationError(
            f"{purpose}: passwords have no place in user-data, which all processes of a machine "
            "can read; put them into /etc/nectarcam-dqm/dqm.env"
        )
    return text


def reboot_time(text: str, purpose: str) -> str:
    """``HH:MM`` in UTC, or ``off``.

    Raises
    ------
    ConfigurationError
    """
    if text != "off" and not _TIME.fullmatch(text):
        raise ConfigurationError(f"{purpose}: {text!r} is neither HH:MM nor off")
    return text
