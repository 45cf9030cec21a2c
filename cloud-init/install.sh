#!/bin/bash
# Installs the release in the current folder on a machine that was set up by one of the files here:
# bash …/install.sh RELEASE SHA256. /usr/local/sbin/dqm-install calls it, after it has checked what is
# in the folder. What is there already stays as it is: settings, certificates, the database.
set -Eeuo pipefail
. /etc/nectarcam-dqm/host.env
RELEASE=$1 RELEASE_SHA256=$2
HERE=$(cd "$(dirname "$0")" && pwd)
SHARE=$(dirname "$HERE")
ETC=/etc/nectarcam-dqm
OWNER=nectarcam
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

step=begin
trap 'echo "dqm-install: FAILED to $step"' ERR
step() {
  step=$1
  echo "dqm-install: $step"
}

packages() {
  apt-get -qq -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 install --no-install-recommends "$@"
}

firewall() {
  step "close the firewall"
  install -m 755 "$HERE/dqm-firewall" /usr/local/sbin/dqm-firewall
  install -m 644 "$HERE"/dqm-firewall.{service,timer} /etc/systemd/system/
  systemctl daemon-reload
  systemctl enable nftables.service dqm-firewall.service dqm-firewall.timer
  systemctl reload-or-restart nftables.service
  systemctl start dqm-firewall.timer
  # the other machine may have no name yet: the timer tries again
  systemctl start dqm-firewall.service || echo "dqm-install: warning: see journalctl -u dqm-firewall"
}

clock() {
  step "see that something keeps the clock right"
  local unit
  for unit in chrony systemd-timesyncd ntpsec openntpd; do
    if systemctl cat "$unit.service" > /dev/null 2>&1; then break; fi
    unit=
  done
  if [ -z "$unit" ]; then
    unit=systemd-timesyncd
    packages "$unit"
  fi
  systemctl enable --now "$unit.service"
}

folders() {
  step "make folders"
  install -D -m 644 "$SHARE/systemd/dqm.sysusers" /etc/sysusers.d/nectarcam-dqm.conf
  install -D -m 644 "$SHARE/systemd/dqm.tmpfiles" /etc/tmpfiles.d/nectarcam-dqm.conf
  systemd-sysusers /etc/sysusers.d/nectarcam-dqm.conf
  systemd-tmpfiles --create /etc/tmpfiles.d/nectarcam-dqm.conf
  install -d -o root -g $OWNER -m 755 $ETC
  install -d -o $OWNER -g $OWNER -m 750 $ETC/tls /var/lib/nectarcam-dqm /var/lib/nectarcam-dqm/locks
  chgrp $OWNER $ETC/*.env
  chmod 640 $ETC/d*.env
}

restart() {
  local unit
  for unit in "$@"; do
    step "start $unit"
    systemctl restart "$unit"
  done
}

# answers PORT UNIT: waits until something listens there
answers() {
  step "have $2 answer at port $1; see journalctl -u $2"
  local _
  for _ in $(seq 300); do
    if (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; then return; fi
    if systemctl is-failed --quiet "$2"; then break; fi
    sleep 0.2
  done
  journalctl --no-pager --lines 20 --unit "$2"
  false
}

website() {
  step "set the web server up"
  install -d -m 755 $ETC/web
  local file
  for file in cert key; do
    if [ ! -e $ETC/web/$file.pem ] && [ ! -L $ETC/web/$file.pem ]; then
      ln -s ../tls/$file.pem $ETC/web/$file.pem
    fi
  done
  # nginx does not start without its certificate; dqm-certs.service starts it when that has come
  install -d /etc/systemd/system/nginx.service.d
  printf '[Unit]\nConditionPathExists=%s\n' $ETC/web/cert.pem \
    > /etc/systemd/system/nginx.service.d/nectarcam-dqm.conf
  systemctl daemon-reload
  rm -f /etc/nginx/sites-enabled/default
  (
    set -a
    . $ETC/web/site.env
    envsubst "$(env | sed -n 's/^\(DQM_WEB_[A-Z_]*\)=.*/${\1}/p')" < "$SHARE/nginx/dqm.conf.template"
  ) > /etc/nginx/conf.d/dqm.conf.new
  mv /etc/nginx/conf.d/dqm.conf.new /etc/nginx/conf.d/dqm.conf
  systemctl enable nginx.service
  if [ -e $ETC/web/cert.pem ]; then
    nginx -q -t
    systemctl reload-or-restart nginx.service
  else
    systemctl stop nginx.service
  fi
}

certificates() {
  local ca=$ETC/ca
  if [ -e $ETC/tls/cert.pem ]; then return; fi
  step "make the CA and the certificate of this machine"
  if [ ! -e $ca/ca.pem ]; then
    install -d -m 700 $ca
    dqm certs ca --dir $ca
  fi
  dqm certs request --dir $ETC/tls |
    dqm certs sign --dir $ca "$PRIMARY" "$(hostname --fqdn || hostname)" |
    dqm certs install --dir $ETC/tls
}

greeting() {
  step "tell who logs in"
  install -d /etc/update-motd.d
  install -m 755 "$HERE/dqm-motd" /etc/update-motd.d/60-nectarcam-dqm
}

remember() {
  step "note what is installed"
  {
    grep -v '^RELEASE' $ETC/host.env
    printf 'RELEASE=%q\nRELEASE_SHA256=%q\n' "$RELEASE" "$RELEASE_SHA256"
  } > $ETC/host.env.new
  mv $ETC/host.env.new $ETC/host.env
}

. "$HERE/install-$WITH.sh"

firewall
clock
folders
program
install -m 755 "$HERE/dqm-$WITH" /usr/local/bin/dqm
greeting
units
if [ "$ROLE" = rw ]; then certificates; fi
services
if [ "$ROLE" = ro ]; then website; fi
remember
echo "dqm-install: done: $(dqm --version)"
