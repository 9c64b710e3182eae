"""`--json`: one JSON document on standard output and nothing else anywhere; without it, text for people."""

import json

import numpy as np
import pytest

from unet_data import write_stack
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_tools.cli import main
from unet_tools.commands import train

CONFIG = preset("same", widths=(2, 4), dropout=0.0)
COMMANDS = {
    "info": "info ck",
    "info of a preset": "info --preset same --widths 2 4",
    "convert": "convert ck {out}.safetensors",
    "ensemble": "ensemble ck ck2 -o {out}",
    "data": "data check data",
    "diff": "diff ck ck2",
    "predict one": "predict ck data/images/0.png -o {out}.npy",
    "predict several": "predict ck data/images -o {out}",
    "evaluate": "evaluate ck data",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("json")
    for seed, name in enumerate(("ck", "ck2")):
        Checkpoint(CONFIG, random_tensors(CONFIG.graph, seed, np.float32), DataSpec()).save(folder / name)
    for kind, top in (("images", 255), ("labels", 2)):
        (folder / "data" / kind).mkdir(parents=True)
        for number in range(3):
            values = np.random.default_rng(number).integers(0, top, (1, 40, 48, 1)).astype(np.uint8)
            write_stack(folder / "data" / kind / f"{number}.png", values[..., 0])
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_one_document_and_nothing_else(name, home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(home)
    code = main([*COMMANDS[name].format(out=tmp_path / "with").split(), "--json"])
    printed = capsys.readouterr()
    assert printed.err == ""
    assert code in (0, 1)
    json.loads(printed.out)
    assert main(COMMANDS[name].format(out=tmp_path / "without").split()) == code
    printed = capsys.readouterr()
    assert printed.out + printed.err
    with pytest.raises(ValueError, match=r"Expecting value|Extra data"):
        json.loads(printed.out)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_training_reports_its_processes_unless_the_result_is_json(as_json, home, tmp_path, monkeypatch, capsys):
    def joined(flags, say):
        say("process 0 of 2")
        raise InputError("joined")

    monkeypatch.setattr(train, "join_processes", joined)
    assert main(["train", str(home / "data"), "--out", str(tmp_path / "run"), *["--json"] * as_json]) == 2
    assert ("process 0 of 2" in capsys.readouterr().err) == (not as_json)
