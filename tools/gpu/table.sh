#!/bin/sh
# usage: [OUT=FOLDER] tools/gpu/table.sh [--checks] [--minutes M] [--device cpu] [--tiny]
# The table of speeds of a machine without network (see surroundings.sh); what it says is explained in README.md.
set -eu
. "$(dirname "$0")/surroundings.sh"
out=${OUT:-gpu-table}
mkdir -p "$out"
PYTHONPATH=$path "$python" -m tools.gpu.table --out "$out" "$@"
