#!/bin/sh
# usage: [OUT=FOLDER] tools/gpu/slice.sh [--minutes M] [--item NAME] [--despite-checks] [--device cpu] [--tiny]
# The next open item of the list in README.md beside this file, on a machine without network (see surroundings.sh). Data
# lie in data/ at the top of the project unless CGRO_DATA says otherwise, and weights of earlier slices in weights/; git
# ignores both.
set -eu
. "$(dirname "$0")/surroundings.sh"
out=${OUT:-gpu-slice}
mkdir -p "$out"
if [ -z "${CGRO_DATA:-}" ] && [ -d "$top/data" ]; then
    export CGRO_DATA="$top/data"
fi
PYTHONUNBUFFERED=1 PYTHONPATH=$path "$python" -m tools.gpu.slice --out "$out" "$@"
