#!/bin/sh
# usage: [OUT=FOLDER] tools/gpu/slice.sh [--minutes M] [--item NAME] [--despite-checks] [--device cpu] [--tiny]
# The next open item of the list in README.md beside this file, on a machine without network. Wheels of what the machine
# lacks lie in wheels/ at the top of the project, data in data/ there unless CGRO_DATA says otherwise, and weights of
# earlier slices in weights/; git ignores all three.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python}
out=${OUT:-gpu-slice}
path=$top/src:$top
mkdir -p "$out"
if ls "$top"/wheels/*.whl >/dev/null 2>&1; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --target "$site" "$top"/wheels/*.whl
    path=$path:$site
fi
if [ -z "${CGRO_DATA:-}" ] && [ -d "$top/data" ]; then
    export CGRO_DATA="$top/data"
fi
PYTHONUNBUFFERED=1 PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH} "$python" -m tools.gpu.slice --out "$out" "$@"
