#!/usr/bin/env bash
# Ends what start.sh began in FOLDER: stop.sh FOLDER
set -u
folder=$(realpath "$1")
export SLURM_CONF=$folder/slurm.conf
scancel --user="$(id -un)" --signal=KILL --full 2>/dev/null
for daemon in slurmctld slurmd munged; do
    if [ -s "$folder/$daemon.pid" ]; then
        kill "$(cat "$folder/$daemon.pid")" 2>/dev/null
    fi
done
# They write their state before they end.
for ((k = 0; k < 50; k++)); do
    [ -e "$folder/slurmctld.pid" ] || [ -e "$folder/slurmd.pid" ] || [ -e "$folder/munged.pid" ] || exit 0
    sleep 0.1
done
