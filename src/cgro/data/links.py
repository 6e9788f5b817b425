"""Links by which a data set holds files from elsewhere.

They are followed: many keep ImageNet once, and data sets as folders of links. But the data set of somebody else could
hold any image of this machine in this way, so whoever loads it is told.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from cgro.data.raw import shown


def links_out_of(root: Path, folders: Iterable[Path], is_visible: Callable[[str], bool]) -> list[str]:
    """What is said of a data set with links that lead out of it.

    Args:
        root: the folder of the data set.
        folders: it and those below it whose entries are read.
        is_visible: says of a name whether it belongs to the data.

    Returns:
        One sentence, which names one of them; none where every link stays inside.
    """
    inside = Path(os.path.realpath(root))
    n_links = 0
    first = ""
    for folder in dict.fromkeys(folders):
        with os.scandir(folder) as found:
            links = sorted(entry.path for entry in found if is_visible(entry.name) and entry.is_symlink())
        n_links += len(links)
        for path in links:
            if first:
                break
            target = os.path.realpath(path)
            if not Path(target).is_relative_to(inside):
                first = f"{shown(path)} -> {shown(target)}"
    if not first:
        return []
    return [f"{shown(root.name)}: links out of the folder are followed, such as {first} (links in all: {n_links:,})"]


def folders_below(root: Path) -> list[Path]:
    """A folder and all below it.

    Args:
        root: the folder.

    Returns:
        Links to folders are not followed.
    """
    return [Path(folder) for folder, _, _ in os.walk(root)]
