#!/usr/bin/env bash
# A Slurm of one node on this machine's loopback, in a scratch folder: start.sh FOLDER [SECONDS]
# Debian: apt-get install --no-install-recommends slurm-wlm munge. As any user; nothing outside FOLDER is written.
# Prints the line that its commands need; ends with 1 and what failed where the daemons are not up within SECONDS (20).
set -euo pipefail
folder=$(realpath "$1")
patience=${2:-20}
export PATH=$PATH:/usr/sbin:/sbin
for program in munged slurmctld slurmd sbatch squeue scontrol scancel sinfo; do
    command -v "$program" >/dev/null || { echo "no $program; install slurm-wlm and munge" >&2; exit 1; }
done
mkdir -p "$folder"/{state,spool,log}
chmod 700 "$folder"
me=$(id -un)
host=$(hostname -s)
# Two free ports.
read -r controller node < <(python3 - <<'PY'
import socket
sockets = [socket.socket() for _ in range(2)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PY
)
head -c 128 /dev/urandom > "$folder/munge.key"
chmod 400 "$folder/munge.key"
cat > "$folder/slurm.conf" <<CONF
ClusterName=loopback
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$me
SlurmdUser=$me
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CryptoType=crypto/munge
SlurmctldPort=$controller
SlurmdPort=$node
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
# No cgroups, no affinity: the machine is shared and may be a container.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=300
SlurmdTimeout=300
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobRequeue=1
KillWait=5
MinJobAge=300
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$folder/slurm.conf
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/log/munged.log" --seed-file="$folder/munge.seed" --num-threads=1 \
    > "$folder/log/start.log" 2>&1
# Not on our streams, which a caller may wait for.
slurmctld -c >> "$folder/log/start.log" 2>&1
slurmd -c >> "$folder/log/start.log" 2>&1
for ((k = 0; k < 10 * patience; k++)); do
    if [ "$(sinfo -h -o %T 2>/dev/null)" = idle ]; then
        echo "SLURM_CONF=$SLURM_CONF"
        exit 0
    fi
    sleep 0.1
done
echo "the daemons did not come up in $patience s: $(cat "$folder"/log/*.log | grep -i error | tail -n 3 | tr '\n' ' ')" >&2
exit 1
