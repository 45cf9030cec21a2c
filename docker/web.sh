#!/bin/sh
# nginx with the site, filled in with the DQM_WEB_ variables of the container.
set -eu
share=/opt/nectarcam-dqm/share/nectarcam-dqm
mkdir -p /tmp/nginx
envsubst "$(env | sed -n 's/^\(DQM_WEB_[A-Z_]*\)=.*/${\1}/p')" \
    <"$share/nginx/dqm.conf.template" >/tmp/nginx/dqm.conf
exec nginx -c "$share/docker/nginx.conf" "$@"
