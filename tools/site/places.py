"""Where things of the repository lie in the site, and the navigation; without mkdocs, so that tests can ask."""

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(\]\()(?![a-z]+:|#|<)([^)\s#]+)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
CODED = re.compile(r"^(```|~~~).*?^\1|`[^`]+`", re.DOTALL | re.MULTILINE)
"""Code, in which a bracket is no link."""
TEXTS = ("CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md")
"""Pages of the site although they lie outside docs/, where they exist."""
CODE = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sh": "sh"}
"""Files that become a page with their text; others are copied."""
COMMANDS = "reference/cli.md"
REST = "How-to"
"""The part of the navigation that takes the pages which no part names."""

Entries = list[dict[str, object]]


def repository_path(page: str) -> str:
    """Where a page lies in the repository.

    Args:
        page: below the site's root.

    Returns:
        Its path below the repository's root.

    Example:
        >>> repository_path("theory/index.md"), repository_path("project/examples/keras_fit.py.code.md")
        ('docs/theory/index.md', 'examples/keras_fit.py')
    """
    if page.startswith("project/"):
        return page.removeprefix("project/").removesuffix(".code.md")
    return f"docs/{page}"


def site_path(path: str) -> str:
    """Where a file of the repository lies in the site.

    Args:
        path: below the repository's root.

    Returns:
        Its path below the site's root; that of a page for Markdown and for code.

    Example:
        >>> site_path("docs/map.md"), site_path("results/cpu/a.svg"), site_path("examples/keras_fit.py")
        ('map.md', 'project/results/cpu/a.svg', 'project/examples/keras_fit.py.code.md')
    """
    if Path(path).suffix in CODE:
        return f"project/{path}.code.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"project/{path}"


def target_of(link: str, page: str) -> str:
    """What a link leads to.

    Args:
        link: relative, without anchor.
        page: that has it, below the repository's root.

    Returns:
        A path below the repository's root.
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def linked(text: str, page: str) -> list[str]:
    """Files that a page links to and that are no pages under docs/.

    Args:
        text: Markdown.
        page: its path below the repository's root.

    Returns:
        Paths below the repository's root.
    """
    found: list[str] = []
    for _, link, _ in LINK.findall(CODED.sub("", text)):
        path = target_of(link, page)
        if site_path(path).startswith("project/") and (ROOT / path).is_file():
            found.append(path)
    return found


def led(text: str, place: str) -> str:
    """Lead the links of a page to where the site has what they mean.

    Args:
        text: Markdown as it is in the repository.
        place: of the page, below the site's root.

    Returns:
        Markdown for the site.

    Example:
        >>> led("[a](../results/cpu/a.svg), [b](map.md#x)", "dynamics.md")
        '[a](project/results/cpu/a.svg), [b](map.md#x)'
    """
    page = repository_path(place)
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    def lead(found: re.Match[str]) -> str:
        start, link, end = found.groups()
        path = target_of(link, page)
        if (ROOT / path).is_dir():
            return "](#)"
        there = site_path(path)
        return start + posixpath.relpath(there, posixpath.dirname(place) or ".") + end

    led_text = LINK.sub(lead, CODED.sub(keep, text))
    return re.sub("\0(\\d+)\0", lambda found: kept[int(found[1])], led_text)


def title_of(file: Path) -> str:
    """The heading of a page.

    Args:
        file: Markdown.

    Returns:
        The text of its first line.
    """
    return file.read_text().partition("\n")[0].lstrip("# ")


def completed(nav: Entries, reference: Sequence[tuple[str, str]], root: Path = ROOT) -> Entries:
    """Leave out of the navigation what does not exist, and put pages into it that it does not name.

    Args:
        nav: as mkdocs.yml has it.
        reference: title and page of the API's pages, which are written when the site is built.
        root: of the repository.

    Returns:
        The navigation.
    """
    written = {COMMANDS, *(page for _, page in reference)}
    named: set[str] = set()

    def exists(place: str) -> bool:
        return place in written or (root / repository_path(place)).exists()

    def kept(entries: Entries) -> Entries:
        found: Entries = []
        for entry in entries:
            ((title, value),) = entry.items()
            if isinstance(value, list):
                value = kept(value)
            elif isinstance(value, str) and exists(value):
                named.add(value)
            else:
                continue
            if value:
                found.append({title: value})
        return found

    whole = kept(nav)
    for entry in whole:
        ((title, value),) = entry.items()
        assert isinstance(value, list) or title == "Start"
        if title == "Reference":
            value += [{name: page} for name, page in reference]
        if title == REST:
            files = sorted((root / "docs").glob("*.md"))
            value += [{title_of(file): file.name} for file in files if file.name not in named]
    return whole
