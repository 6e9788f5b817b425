"""What mkdocs does not do by itself: reference pages from the source, files of the project, equations, the navigation.

Pages under docs/ stay as they are read in the repository: their links to files outside docs/ (figures of results,
examples, SECURITY.md) are followed, and what they lead to is copied into the site under project/.
"""

import re
import shutil
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.site import api, blocks, mathml, places, prose, tables  # noqa: E402  # mkdocs loads this file by its path

WRITTEN_HERE = ("api/", "reference/")
"""Pages that are Markdown for mkdocs from the start."""
NAVIGATION = '<nav aria-label="Interactive pages">'
TO_THE_SITE = '<a id="site" href="../index.html" data-probe="../assets/images/favicon.png" hidden>cgro, the site</a>'
"""Of the interactive pages. In the repository there is no site for them to lead to, so that the link is added here;
parts.js shows it where the probe, an image of the site, can be loaded: not on a page that was copied out of it."""


def _titled() -> list[tuple[str, str]]:
    """Title and page of the API's pages."""
    return [(api.title_of(name), f"api/{name}.md") for name in api.reference()]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation.

    Args:
        config: as read.

    Returns:
        It.
    """
    assert config.nav is not None
    config.nav = places.completed(config.nav, _titled())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are written here, and the files that pages link to.

    Args:
        files: below docs/.
        config: of the site.

    Returns:
        All of the site's.
    """
    for file in list(files):
        if file.src_uri.endswith((".py", ".txt")):
            files.remove(file)
    for name, text in api.reference().items():
        files.append(File.generated(config, f"api/{name}.md", content=text))
    files.append(File.generated(config, places.COMMANDS, content=_commands()))
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages() if file.abs_src_path]
    texts = [name for name in places.TEXTS if (ROOT / name).exists()]
    for name in texts:
        _add(name, files, config)
    waiting += texts
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        for target in places.linked((ROOT / path).read_text(), path):
            if target in seen:
                continue
            seen.add(target)
            _add(target, files, config)
            if target.endswith(".md"):
                waiting.append(target)
    return files


def _add(path: str, files: Files, config: MkDocsConfig) -> None:
    """A file of the repository, as a page or as it is."""
    place = places.site_path(path)
    level = InclusionLevel.NOT_IN_NAV
    if place.endswith(".code.md"):
        language = places.CODE[Path(path).suffix]
        content = f"# `{path}`\n\n````{language}\n{(ROOT / path).read_text()}````\n"
        files.append(File.generated(config, place, content=content, inclusion=level))
    else:
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path), inclusion=level))


def _commands() -> str:
    """The command line's reference: what --help prints, stored in the package."""
    parts = [
        "# Command line\n\nWhat `cgro COMMAND --help` prints. Every command exits with 0 when it is done, 1 when a "
        "check that was asked for failed, 2 for a request that it cannot meet, and 130 when it was interrupted and can "
        "be resumed.\n"
    ]
    for file in sorted((ROOT / "src" / "cgro" / "commands" / "help").glob("*.txt")):
        parts.append(f"## cgro {file.stem}\n\n```text\n{file.read_text().rstrip()}\n```\n")
    return "\n".join(parts)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of docs/ to the copies in the site, and write what GitHub shows.

    Args:
        markdown: of the page.
        page: its place.
        config: of the site.
        files: of the site.

    Returns:
        Markdown.
    """
    if page.file.src_uri.startswith(WRITTEN_HERE) and page.file.src_uri != "api/index.md":
        return markdown
    return prose.as_on_github(places.led(markdown, page.file.src_uri))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Name what the theme leaves without a name.

    Args:
        output: the whole page.
        page: its place.
        config: of the site.

    Returns:
        HTML.
    """
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw the equations; let tables and printed sentences fit; an empty cell is no heading.

    Args:
        html: of the page.
        page: its place.
        config: of the site.
        files: of the site.

    Returns:
        HTML.
    """
    html = re.sub(r"<th([^>]*)></th>", r"<td\1></td>", html)
    return mathml.typeset(blocks.broken(tables.fitted(html)), page.file.src_uri)


def on_post_build(config: MkDocsConfig) -> None:
    """Let the interactive pages lead back to the site, and a missing page into it.

    The theme's own page for that takes style and links from the top of the server, where a site below a path is not.

    Args:
        config: of the site.
    """
    shutil.copyfile(ROOT / "tools" / "site" / "not_found.html", Path(config.site_dir) / "404.html")
    for file in sorted((Path(config.site_dir) / "interactive").glob("*.html")):
        file.write_text(with_way_back(file.read_text()))


def with_way_back(page: str) -> str:
    """Add the link to the site.

    Args:
        page: HTML of an interactive page.

    Returns:
        HTML.
    """
    assert page.count(NAVIGATION) == 1, f"an interactive page has no {NAVIGATION} for the link to the site"
    return page.replace(NAVIGATION, NAVIGATION + TO_THE_SITE)
