"""The defaults of the flags: those of a recipe, of a run that is repeated, or of one that is resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unet_jax import RECIPES, TrainSettings
from unet_jax.training.planning.rules import AUTO
from unet_spec import InputError, preset
from unet_tools.training import stored
from unet_tools.training.flags import NetworkFlags, TrainArgs

CONFIG = preset("paper", widths=(2, 4))
OWN = TrainSettings().replace(steps=77, batch=6, learning_rate=0.5)


@pytest.fixture
def run(tmp_path):
    """The folder of a run with the settings OWN."""
    record = {"network": CONFIG.to_dict(), "settings": OWN.to_dict(), "data": "d", "path": "/data"}
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text(json.dumps(record))
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("words", "recipe", "settings"),
    [
        ([], "auto", AUTO.settings),
        (["--recipe", "auto"], "auto", AUTO.settings),
        (["--recipe", "none"], None, TrainSettings()),
        (["--recipe=modern"], None, RECIPES["modern"].settings),
        (["--recipe", "paper-2015"], None, RECIPES["paper-2015"].settings),
        (["--recipe"], None, TrainSettings()),  # the flags' own parser says what is missing
        (["--config", "net.json"], "auto", AUTO.settings),
        (["--resume", "--out", "new"], "auto", AUTO.settings),
    ],
)
def test_defaults_are_those_of_the_recipe(words, recipe, settings):
    found = stored.defaults(words)
    assert (found.recipe, found.settings) == (recipe, settings)


def test_defaults_are_those_of_the_run_that_is_repeated_or_resumed(run):
    repeated = stored.defaults(["--config", str(run / "run.json"), "--steps", "3"])
    resumed = stored.defaults(["--out", str(run), "--resume", "--no-mirror"])
    assert (repeated.settings, repeated.recipe, repeated.given) == (OWN, None, ("config", "steps"))
    assert (resumed.settings, resumed.recipe, resumed.given) == (OWN, None, ("out", "resume", "mirror"))
    assert stored.defaults(["--out", str(run)]).settings == AUTO.settings  # not resumed


def test_a_recipe_beside_resume_shows_where_it_differs(run):
    found = stored.defaults(["--out", str(run), "--resume", "--recipe", "modern"]).settings
    modern = RECIPES["modern"].settings
    assert (found.optimisation.batch, found.loss.loss, found.optimisation.ema) == (4, modern.loss.loss, 0.99)
    assert found.augmentation == modern.augmentation
    assert (found.optimisation.steps, found.optimisation.learning_rate) == (77, 0.5)  # may change anyway


def test_data_folder_and_network_of_a_run_are_completed(run, capsys):
    found, network = stored.completed(TrainArgs(out=run, resume=True))
    assert (found.data, found.out, network) == ("/data", run, CONFIG)
    assert stored.completed(TrainArgs("own", run, resume=True))[0].data == "own"
    again = TrainArgs(network=NetworkFlags(config=run / "run.json", widths=(3, 5)))
    found, network = stored.completed(again)
    assert (found.data, found.out, network) == ("/data", run.with_name("run-2"), CONFIG)
    assert found.network == NetworkFlags(widths=(3, 5))
    assert stored.completed(TrainArgs("d", Path("o"))) == (TrainArgs("d", Path("o")), None)
    assert capsys.readouterr().err == ""


def test_a_run_that_was_changed_on_its_way_is_repeated_with_its_later_settings(run, capsys):
    record = json.loads((run / "run.json").read_text())
    changed = [{"after": 50, "steps": [60, 77], "clip": [1.0, None]}]
    (run / "run.json").write_text(json.dumps(record | {"changed": changed}))
    stored.completed(TrainArgs(network=NetworkFlags(config=run / "run.json")))
    assert capsys.readouterr().err == (
        f"{run} was resumed with other settings (steps 60 → 77; clip 1.0 → None after step 50); this run uses "
        "the later settings from the start, so its results will differ\n"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resume": True}, "--resume needs --out, the run to continue"),
        ({"recipe": "modern"}, "has its own settings; leave out --recipe"),
    ],
)
def test_what_a_repetition_does_not_take(changes, words, run):
    with pytest.raises(InputError, match=words):
        stored.completed(TrainArgs(network=NetworkFlags(config=run / "run.json"), **changes))
    stored.completed(TrainArgs(network=NetworkFlags(config=run / "run.json"), recipe="none"))


@pytest.mark.parametrize(
    ("own", "asked", "refused"),
    [(None, None, False), (None, "w", True), ("w", "w", False), ("w", None, False), ("w", "v", True)],
)
def test_a_resumed_run_keeps_the_weights_that_it_began_with(own, asked, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = own and str(tmp_path / own)
    if refused:
        with pytest.raises(InputError, match="continues with its own weights; leave out --weights"):
            stored._check_weights(Path("run"), own, asked)
    else:
        stored._check_weights(Path("run"), own, asked)


def test_a_run_of_images_from_memory_needs_its_data(run):
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"path": ""}))
    with pytest.raises(InputError, match="was trained on images from memory, not from files; give the data"):
        stored.completed(TrainArgs(out=run, resume=True))
    for given in (TrainArgs("d"), TrainArgs(out=Path("o"))):
        with pytest.raises(InputError, match="give the data and --out: unet train DATA --out RUN"):
            stored.completed(given)
