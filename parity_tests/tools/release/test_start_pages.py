"""Following the start pages: their blocks run in order, each with the results of the previous ones."""

import sys

import pytest

from tools.release import start_pages
from tools.release.start_pages import PAGES, ROOT, Args, Step, follow, main, steps_of
from unet_spec import InputError


@pytest.mark.parametrize("page", PAGES)
def test_each_page_installs_first_and_only_its_own_extra(page):
    steps = list(steps_of((ROOT / "docs" / "start" / f"{page}.md").read_text()))
    assert steps[0].kind == "install"
    assert [step.kind for step in steps].count("install") == 1
    assert len(steps) >= 4
    assert {"jax": "train", "torch": "pytorch", "onnx": "deploy"}[steps[0].text.strip("[]").split(",")[0]] == page


PAGE = """
```sh
pip install 'unet-twins[jax]'
```
```python
import sys
value = 3
```
```sh
unet train data --minutes 30
```
```python
print(value + 1)
```
"""


@pytest.fixture
def followed(tmp_path, monkeypatch):
    """The executed blocks of a test page, without creating an environment."""
    (tmp_path / "docs" / "start").mkdir(parents=True)
    (tmp_path / "docs" / "start" / "train.md").write_text(PAGE)
    monkeypatch.setattr(start_pages, "ROOT", tmp_path)
    ran = []

    def run(folder, command, what):
        ran.append(command)
        folder.mkdir(parents=True, exist_ok=True)
        return "said"

    monkeypatch.setattr(start_pages, "run_in", run)
    steps = list(follow("train", Args(tmp_path, tmp_path, tmp_path / "w.whl", minutes=2), tmp_path / "home"))
    return [what for what, _ in steps], ran, tmp_path / "home"


def test_blocks_run_in_order_and_share_python_variables(followed):
    steps, ran, home = followed
    assert steps == ["pip install 'unet-twins[jax]'", "value = 3", "unet train data --minutes 2", "print(value + 1)"]
    assert ran[0][:3] == [sys.executable, "-m", "venv"]
    assert ran[1][-1].endswith("w.whl[jax]")
    assert ran[-1][-1] == "import sys\nvalue = 3\n\nprint(value + 1)\n"
    assert all(f"{home}/environment/bin" in command[2] for command in ran[1:])
    assert (home / "2.txt").read_text() == "unet train data --minutes 30\n\nsaid"


def test_a_folder_that_exists_is_left_alone(tmp_path):
    with pytest.raises(InputError, match=r"images holds no \.png files"):
        main(Args(tmp_path, tmp_path / "o"))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    with pytest.raises(InputError, match="exists; give a new folder"):
        main(Args(tmp_path, tmp_path))
    with pytest.raises(InputError, match="need the checkpoint of the page train; give train first"):
        main(Args(tmp_path, tmp_path / "o", pages=("deploy",)))
    assert not (tmp_path / "o").exists()


def test_other_blocks_are_no_steps():
    assert list(steps_of("```text\na\n```\n```sh\nb\n```\n")) == [Step("sh", "b\n")]
