#!/bin/sh
# usage: [OUT=FOLDER] tools/gpu/table.sh [--checks] [--minutes M] [--device cpu] [--tiny]
# The table of speeds of a machine without network; see README.md beside this file. Wheels of what the machine lacks lie
# in wheels/ at the top of the project, which git ignores; they are unpacked into a folder that goes away.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python}
out=${OUT:-gpu-table}
path=$top/src:$top
mkdir -p "$out"
if ls "$top"/wheels/*.whl >/dev/null 2>&1; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --target "$site" "$top"/wheels/*.whl
    path=$path:$site
fi
PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH} "$python" -m tools.gpu.table --out "$out" "$@"
