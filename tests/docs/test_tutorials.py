"""The tutorials: every cell runs, and the stored pages have their text, their code and as many outputs and figures."""

import os
from pathlib import Path

import pytest
from tools import tutorials

FILES = tutorials.tutorials([])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_runs_and_its_page_is_that_of_the_file(path: Path, tmp_path: Path) -> None:
    before = os.getcwd()
    done = tutorials.execute(path, tmp_path)
    assert os.getcwd() == before
    markdown, pictures = tutorials.page(path, done)
    assert tutorials.frame(markdown) == tutorials.frame(path.with_suffix(".md").read_text()), "run `make tutorials`"
    for name, picture in pictures.items():
        assert picture.stat().st_size > 500
        assert (tutorials.FOLDER / "figures" / name).exists()


def test_there_are_seven_and_no_picture_is_left_over() -> None:
    assert [path.name[:2] for path in FILES] == [f"0{n}" for n in range(1, 8)]
    shown = "".join(path.with_suffix(".md").read_text() for path in FILES)
    for picture in (tutorials.FOLDER / "figures").iterdir():
        assert f"(figures/{picture.name})" in shown, picture.name


def test_what_is_stored_and_what_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "01_small.py"
    path.write_text("# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\na = 2\nprint('said')\na + 1\n")
    markdown, pictures = tutorials.page(path, tutorials.execute(path, tmp_path))
    assert "# Title\n\nText.\n\n```python\na = 2\nprint('said')\na + 1\n```\n\n```text\nsaid\n3\n```" in markdown
    assert pictures == {}
    other_number = markdown.replace("\n3\n", "\n4\n")
    assert tutorials.frame(markdown) == tutorials.frame(other_number)
    other_code = markdown.replace("a = 2", "a = 3")
    assert tutorials.frame(markdown) != tutorials.frame(other_code)
    assert tutorials.frame(markdown) != tutorials.frame(markdown.replace("```text\nsaid\n3\n```\n", ""))


def test_figures_are_saved_with_the_comment_above_them_as_description(tmp_path: Path) -> None:
    path = tmp_path / "01_small.py"
    path.write_text("# %%\n# A line\nimport matplotlib.pyplot as plt\n\nplt.plot([0, 1])\n")
    markdown, pictures = tutorials.page(path, tutorials.execute(path, tmp_path))
    assert "![A line](figures/01_small_1.svg)" in markdown
    assert "Line2D" not in markdown
    assert pictures["01_small_1.svg"].read_text().startswith("<?xml")
    path.write_text("# %%\nimport matplotlib.pyplot as plt\n\nplt.plot([0, 1])\n")
    with pytest.raises(ValueError, match="a comment that describes the picture"):
        tutorials.page(path, tutorials.execute(path, tmp_path))


def test_a_cell_that_raises_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "01_small.py"
    path.write_text("# %%\nraise RuntimeError('planted')\n")
    with pytest.raises(RuntimeError, match="planted"):
        tutorials.execute(path, tmp_path)


def test_text_must_be_comments() -> None:
    with pytest.raises(ValueError, match="expected a comment"):
        tutorials.cells("# %% [markdown]\nprint(1)")
    with pytest.raises(ValueError, match="above everything else"):
        tutorials.cells("print(1)\n# %%\n")
