"""Reading what others made: one reader for each kind of file. No torch here.

What comes from outside is data. A reader opens regular files only (a named pipe would hang it, a device would fill the
memory), asks for sizes before it allocates, unpickles and executes nothing, and turns every failure into one line:
`BadRequest` with the path, what was expected and what came.

files      bytes of a regular file
texts      UTF-8 text, JSON, YAML
archives   arrays of an .npz, gzip
room       whether the memory holds what a file asks for
"""

from cgro.reading.archives import gunzip, read_npz, require_one_archive
from cgro.reading.files import file_kind, open_regular, read_bytes
from cgro.reading.room import ALWAYS_ROOM, memory_left, require_room
from cgro.reading.texts import (
    TEXT_LIMIT,
    RepeatedKeyError,
    attempt,
    parse_json,
    parse_yaml,
    read_json,
    read_json_object,
    read_text,
    read_yaml_mapping,
)

__all__ = [
    "ALWAYS_ROOM",
    "TEXT_LIMIT",
    "RepeatedKeyError",
    "attempt",
    "file_kind",
    "gunzip",
    "memory_left",
    "open_regular",
    "parse_json",
    "parse_yaml",
    "read_bytes",
    "read_json",
    "read_json_object",
    "read_npz",
    "read_text",
    "read_yaml_mapping",
    "require_one_archive",
    "require_room",
]
