# Sourced by install.sh: the program in a virtual environment, its services by systemd.

program() {
  step "find Python 3.11 or newer"
  local python venv
  for python in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then break; fi
    python=
  done
  if [ -z "$python" ]; then  # Ubuntu 22.04
    python=python3.11
    packages python3.11-venv
  elif ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then
    packages "$("$python" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')"
  fi

  step "install the program"
  # a folder of its own for each release; the link changes over at once, and back as well
  venv=/opt/nectarcam-dqm-${RELEASE_SHA256:0:12}
  if [ ! -e "$venv/complete" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    # all of it is compiled already, but for zc.zrs, which has no wheel and is Python alone
    "$venv/bin/pip" --disable-pip-version-check --no-cache-dir install --quiet --require-hashes \
      --only-binary :all: --no-binary zc-zrs --use-pep517 --requirement requirements.lock
    "$venv/bin/pip" --disable-pip-version-check --no-cache-dir install --quiet --no-deps --no-index \
      nectarcam_dqm-*.whl
    "$venv/bin/dqm" --version
    touch "$venv/complete"
  fi
  ln -sfn "$venv" /opt/nectarcam-dqm.new
  mv -T /opt/nectarcam-dqm.new /opt/nectarcam-dqm
}

units() {
  step "install units"
  local kind
  install -m 644 "$SHARE"/systemd/*.{service,socket,timer,path} /etc/systemd/system/
  for kind in service socket; do
    install -D -m 644 "$SHARE/systemd/dqm-tls.conf" "/etc/systemd/system/dqm-.$kind.d/tls.conf"
  done
  systemctl daemon-reload
  systemctl enable --now dqm-certs.path
}

services() {
  step "enable services"
  if [ "$ROLE" = rw ]; then
    systemctl enable dqm-primary.service
    systemctl enable --now dqm-backup.timer dqm-verify-new.timer dqm-verify.timer \
      dqm-pack.timer
    if (. $ETC/dqm.env && [ -n "$DQM_INGEST_SOURCES" ]); then
      systemctl enable --now dqm-ingest.timer
    fi
    restart dqm-primary.service
    answers 8100 dqm-primary.service
  else
    systemctl enable dqm-replica.service dqm-dashboard.service
    systemctl enable --now dqm-accounts-backup.timer
    # they wait for certificates when there are none
    restart dqm-replica.service dqm-dashboard.service
    if [ -e $ETC/tls/cert.pem ]; then answers 8100 dqm-replica.service; fi
  fi
}
