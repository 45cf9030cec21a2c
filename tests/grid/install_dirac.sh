#!/bin/bash
# Installs DIRAC, client and servers, into a cache outside the checkout, unless it is there; prints
# its folder. With --where it only prints that. DQM_TEST_DIRAC_ENV names another environment.
# On Debian; what comes from its packages needs root. A minute, half a gigabyte.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=dirac-$(cat "$here/install_dirac.sh" "$here/dirac/constraints.txt" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/nectarcam-dqm
folder=${DQM_TEST_DIRAC_ENV:-$cache/$name}
echo "$folder"
if [ "${1:-}" = --where ] || [ -n "${DQM_TEST_DIRAC_ENV:-}" ]; then exit; fi

exec >&2
export PATH=$PATH:/usr/sbin:/sbin
missing=()
# needs PACKAGE TEST…: the package is installed unless the test succeeds
needs() { "${@:2}" >/dev/null 2>&1 || missing+=("$1"); }
needs mariadb-server command -v mariadbd
needs openssl command -v openssl
# to compile M2Crypto and mysqlclient
needs swig command -v swig
needs g++ command -v g++
needs gcc command -v gcc
needs pkg-config command -v pkg-config
needs libssl-dev test -e /usr/include/openssl/ssl.h
needs libmariadb-dev command -v mariadb_config
python=${PYTHON:-python3}
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
needs "python$version-dev" "$python" -c \
    'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")'
needs "python$version-venv" "$python" -c 'import ensurepip, venv'
if [ "${#missing[@]}" -gt 0 ]; then
    # where an init system runs, it would start the database for good
    if [ "$(id -u)" != 0 ] || [ -d /run/systemd/system ] || ! command -v apt-get >/dev/null; then
        echo "DIRAC needs, installed by root: ${missing[*]}"
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

mkdir -p "$cache"
exec 9>"$folder.lock"
flock 9
# Scripts in an environment contain its path, so that it is made where it stays, and is only taken
# for whole when it says so itself.
if [ -e "$folder/whole" ]; then exit; fi
echo "installing DIRAC into $folder"
rm -rf "$folder"
"$python" -m venv "$folder"
pip=("$folder/bin/python" -m pip --disable-pip-version-check install --quiet --quiet
    --constraint "$here/dirac/constraints.txt")
# gfal2-python cannot be compiled against Debian's gfal2 and is not needed for DIRAC's own storage:
# an empty distribution stands in for it.
stand_in=$(mktemp -d)
trap 'rm -rf "$stand_in"' EXIT
cat >"$stand_in/pyproject.toml" <<END
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "gfal2-python"
version = "1.13.0"
[tool.setuptools]
py-modules = []
END
"${pip[@]}" "$stand_in"
"${pip[@]}" DIRAC CTADIRAC mysqlclient
"$folder/bin/python" -m pip check
touch "$folder/whole"
