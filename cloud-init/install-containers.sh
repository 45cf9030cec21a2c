# Sourced by install.sh: the program in containers of the user nectarcam, rootless, their services by
# his systemd. Volume and backups are where they are without containers.

HOME_FOLDER=$(getent passwd $OWNER | cut -d : -f 6)
CONFIG=$HOME_FOLDER/.config/nectarcam-dqm
USER_UNITS=$HOME_FOLDER/.config/systemd/user

as_owner() {
  local number
  number=$(id -u $OWNER)
  (
    cd /
    runuser -u $OWNER -- env HOME="$HOME_FOLDER" XDG_RUNTIME_DIR="/run/user/$number" "$@"
  )
}

# drop_in UNIT NAME LINE…
drop_in() {
  local folder=$USER_UNITS/$1.d name=$2
  shift 2
  install -d -o $OWNER -g $OWNER "$folder"
  printf '%s\n' "$@" > "$folder/$name.conf"
}

# what containers read: values stand without quotes, and folders are those inside
container_settings() {
  local file=$CONFIG/dqm.env
  {
    echo "# from /etc/nectarcam-dqm/dqm.env, by dqm-install"
    (
      set -a
      . $ETC/dqm.env
      unset DQM_ZEO_ADDRESS DQM_ZRS_ADDRESS  # of the sockets
      DQM_DATA_DIR=/data DQM_BACKUP_DIR=/backup DQM_INGEST_TMP=/var/lib/nectarcam-dqm DQM_DB_WAIT=30
      env | grep '^DQM_'
    )
  } > "$file.new"
  chown $OWNER:$OWNER "$file.new"
  chmod 600 "$file.new"
  mv "$file.new" "$file"
}

program() {
  step "install podman 4.3 or newer"
  packages podman uidmap slirp4netns crun
  local version
  version=$(podman version --format '{{.Client.Version}}')
  if ! dpkg --compare-versions "$version" ge 4.3; then
    echo "podman $version is too old; give --with venv, or a newer system"
    false
  fi
  if ! grep -q "^$OWNER:" /etc/subuid || ! grep -q "^$OWNER:" /etc/subgid; then
    usermod --add-subuids 200000-265535 --add-subgids 200000-265535 $OWNER
  fi

  step "start the services of $OWNER"
  loginctl enable-linger $OWNER
  systemctl start "user@$(id -u $OWNER).service"

  step "load the image"
  local folder
  for folder in .config .config/systemd .config/systemd/user .config/nectarcam-dqm; do
    install -d -o $OWNER -g $OWNER -m 750 "$HOME_FOLDER/$folder"
  done
  # podman 4.3 does not unpack it itself
  gzip -dc nectarcam-dqm-image.tar.gz | as_owner podman load --quiet
  as_owner podman image prune --force > /dev/null

  step "give the containers their folders"
  # pages of nginx
  rm -rf /opt/nectarcam-dqm
  install -d /opt/nectarcam-dqm/share
  cp -r "$SHARE" /opt/nectarcam-dqm/share/
  if [ ! -L $ETC/tls ]; then
    mv $ETC/tls "$CONFIG/tls"
    ln -s "$CONFIG/tls" $ETC/tls
  fi
  install -d -o $OWNER -g $OWNER -m 700 $ETC/ca "$CONFIG/ca"
  ln -sfn /backup/dqm "$HOME_FOLDER/backup"
  local volume=dqm-primary
  if [ "$ROLE" = ro ]; then volume=dqm-replica; fi
  if ! as_owner podman volume exists $volume; then
    as_owner podman volume create --opt type=none --opt o=bind --opt device=/srv/dqm $volume
  fi
  container_settings
}

units() {
  step "install units"
  local unit name
  install -m 644 "$SHARE"/systemd/dqm-certs.{path,service} /etc/systemd/system/
  systemctl daemon-reload
  systemctl enable --now dqm-certs.path
  install -m 644 "$SHARE"/systemd/podman/*.{service,socket} \
    "$SHARE"/systemd/dqm-{ingest,backup,verify,verify-new,pack,accounts-backup}.timer "$USER_UNITS"
  for unit in "$HERE"/user-*; do
    install -m 644 "$unit" "$USER_UNITS/${unit##*/user-}"
  done
  sed 's/the primary/this replica/; s/dqm-primary.service/dqm-replica.service/' \
    "$SHARE/systemd/podman/dqm-primary-zrs.socket" > "$USER_UNITS/dqm-replica-zrs.socket"
  # between hosts: beyond loopback, where the firewall lets the other machine through
  for name in primary replica; do
    drop_in dqm-$name.socket hosts '[Socket]' ListenStream= ListenStream=8100 \
      ListenStream=%t/dqm/$name/zeo.sock
    drop_in dqm-$name-zrs.socket hosts '[Socket]' ListenStream= ListenStream=5000
  done
  # all ask the servers of both machines
  for unit in primary replica dashboard ingest backup; do
    drop_in dqm-$unit.service hosts '[Unit]' ConditionPathExists="$CONFIG/tls/cert.pem" \
      '[Service]' Environment=NETWORK=slirp4netns
  done
  chown -R $OWNER:$OWNER "$USER_UNITS"
  as_owner systemctl --user daemon-reload
  as_owner systemctl --user enable --now dqm-certs.path
}

services() {
  step "enable services"
  local server=primary
  if [ "$ROLE" = ro ]; then server=replica; fi
  as_owner systemctl --user enable --now dqm-$server.socket dqm-$server-zrs.socket
  as_owner systemctl --user enable dqm-$server.service
  if [ "$ROLE" = rw ]; then
    as_owner systemctl --user enable --now dqm-backup.timer dqm-verify-new.timer dqm-verify.timer \
      dqm-pack.timer
    if (. $ETC/dqm.env && [ -n "$DQM_INGEST_SOURCES" ]); then
      as_owner systemctl --user enable --now dqm-ingest.timer
    fi
  else
    as_owner systemctl --user enable dqm-dashboard.service
    as_owner systemctl --user enable --now dqm-dashboard.socket dqm-accounts-backup.timer
    step "start dqm-dashboard.service; see journalctl _SYSTEMD_USER_UNIT=dqm-dashboard.service"
    as_owner systemctl --user restart dqm-dashboard.service
  fi
  # returns when the server says that it is ready
  step "start dqm-$server.service; see journalctl _SYSTEMD_USER_UNIT=dqm-$server.service"
  as_owner systemctl --user restart dqm-$server.service
}
