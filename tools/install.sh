#!/bin/sh
# usage: install.sh PYTHON VENV EXTRA [CONSTRAINTS]. Creates the environment and installs cgro with one of its extras.
# Without a GPU torch comes from PyTorch's CPU index if that answers within seconds, else from what pip finds:
# the default Linux wheel brings gigabytes of CUDA.
set -eu
python=$1 venv=$2 extra=$3 constraints=${4:-constraints.txt}
cpu_index=https://download.pytorch.org/whl/cpu

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "cgro: expected Python 3.11 or newer, got $("$python" --version 2>&1); use make PYTHON=python3.12" >&2
    exit 2
}
[ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
pip="$venv/bin/pip --disable-pip-version-check --quiet"

answers() {
    "$venv/bin/python" - "$cpu_index/torch/" <<'PY'
import os, sys, threading, urllib.request
threading.Timer(6, lambda: os._exit(1)).start()  # name look-ups have no time-out of their own
try:
    urllib.request.urlopen(sys.argv[1], timeout=5).read(1)
except OSError:
    os._exit(1)
os._exit(0)
PY
}

if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    echo "cgro: installing torch" >&2
    if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then
        $pip install -c "$constraints" torch
    elif answers && $pip install --retries 0 -c "$constraints" --index-url "$cpu_index" torch; then
        :
    else
        $pip install -c "$constraints" torch
    fi
fi
echo "cgro: installing cgro[$extra]" >&2
$pip install -c "$constraints" -e ".[$extra]"
