# For slice.sh and table.sh, which read it: sets `top`, `python` and `path` of a machine without network. Wheels of what
# the machine lacks lie in wheels/ at the top of the project, which git ignores; they are unpacked into a folder that goes
# away at the end.
top=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python}
path=$top/src:$top
if ls "$top"/wheels/*.whl >/dev/null 2>&1; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --target "$site" "$top"/wheels/*.whl
    path=$path:$site
fi
path=$path${PYTHONPATH:+:$PYTHONPATH}
