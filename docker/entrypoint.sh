#!/bin/sh
# First process of a container: arguments are those of `dqm`, unless they name another program.
set -eu
case ${1-} in
    bash | sh | tar | nginx | /*) ;;
    web)
        shift
        set -- /opt/nectarcam-dqm/share/nectarcam-dqm/docker/web.sh "$@"
        ;;
    *) set -- dqm "$@" ;;
esac
# Somebody has to reap what others leave behind. But sockets that systemd hands over are for the first
# process alone.
if [ $$ = 1 ] && [ -z "${LISTEN_FDS-}" ]; then
    exec tini -- "$@"
fi
exec "$@"
