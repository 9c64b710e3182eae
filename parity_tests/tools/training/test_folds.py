"""Folds: which runs are trained, skipped and resumed, and the summary of their scores."""

import json
import math
import shutil

import pytest

from unet_jax import TrainSettings
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_tools.arguments.processes import ProcessFlags
from unet_tools.cli import main
from unet_tools.commands import train as command
from unet_tools.training.flags import NetworkFlags, TrainArgs
from unet_tools.training.folds import _scores, cross_validated, finished, run_folds

CONFIG = preset("same", widths=(2, 3))
STEPS = 6


class Runs:
    """Stub for the training of a run: writes its files. The fold `stop` ends in its third step."""

    def __init__(self, stop=None):
        self.stop, self.calls = stop, []

    def __call__(self, args):
        number = int(args.out.name.removeprefix("fold-"))
        self.calls.append((number, args.resume, args.settings.validation.validate, args.network.config))
        assert (args.folds, args.fold) == (None, None)
        stopped = number == self.stop
        record = {"network": CONFIG.to_dict(), "settings": args.settings.to_dict(), "data": "d", "path": args.data}
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "run.json").write_text(json.dumps(record))
        (args.out / "state" / str(3 if stopped else STEPS)).mkdir(parents=True)
        scores = [{"step": 3, "iou": 0.5 + number / 10}, {"step": 5, "loss": 1.0}, {"step": 6, "iou": 0.1}]
        (args.out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in scores))
        Checkpoint(CONFIG, random_tensors(CONFIG.graph, number), DataSpec((0.5,), (0.2,))).save(args.out / "best")
        return 130 if stopped else 0


def asked(tmp_path, **changes):
    flags = {"data": "data", "out": tmp_path / "runs", "folds": 3, "settings": TrainSettings().replace(steps=STEPS)}
    return TrainArgs(**flags | changes)


def test_all_folds_in_turn_then_their_scores(tmp_path, capsys):
    runs = Runs()
    assert run_folds(asked(tmp_path), runs) == 0
    first = tmp_path / "runs/fold-1/run.json"
    assert runs.calls == [(1, False, "1/3", None), (2, False, "2/3", first), (3, False, "3/3", first)]
    printed = capsys.readouterr()
    assert "0.7000 ± 0.1000" in printed.out
    assert f"unet ensemble {tmp_path / 'runs'} -o" in printed.err
    record = json.loads((tmp_path / "runs/folds.json").read_text())
    assert record["scores"]["iou"]["folds"] == pytest.approx([0.6, 0.7, 0.8])  # of the best checkpoints, not the last
    assert run_folds(asked(tmp_path, json=True), runs) == 0
    assert len(runs.calls) == 3  # all are finished
    assert json.loads(capsys.readouterr().out) == record


def test_the_same_command_goes_on_after_an_interruption(tmp_path, capsys):
    runs = Runs(stop=2)
    assert run_folds(asked(tmp_path), runs) == 130
    assert [call[0] for call in runs.calls] == [1, 2]
    assert not (tmp_path / "runs/folds.json").exists()
    assert not finished(tmp_path / "runs/fold-2")
    again = Runs()
    assert run_folds(asked(tmp_path), again) == 0
    assert [call[:3] for call in again.calls] == [(2, True, "2/3"), (3, False, "3/3")]
    assert "fold 1 of 3:" in (printed := capsys.readouterr().err)
    assert "with its own settings" in printed
    assert (tmp_path / "runs/folds.json").exists()


def test_one_fold_by_its_number(tmp_path, capsys):
    runs = Runs()
    assert run_folds(asked(tmp_path, fold=3), runs) == 0
    assert [call[0] for call in runs.calls] == [3]
    assert "not trained yet: fold 1, 2 of 3" in capsys.readouterr().err
    assert run_folds(asked(tmp_path, fold=1), runs) == 0
    assert runs.calls[-1][3] == tmp_path / "runs/fold-3/run.json"  # the network that is there already


def test_what_does_not_go_with_folds_is_refused(tmp_path, capsys):
    def refused(**changes):
        with pytest.raises(InputError) as error:
            run_folds(asked(tmp_path, **changes), Runs())
        return str(error.value)

    assert "needs --folds" in refused(folds=None, fold=1)
    assert "--folds is 1; it must be 2 or more" in refused(folds=1)
    assert "--fold is 4; it must be 1 to 3" in refused(fold=4)
    assert "--fold is 0" in refused(fold=0)
    assert "give the data and --out" in refused(data="")
    assert "--validate 0.5" in refused(settings=TrainSettings().replace(validate="0.5"))
    run_folds(asked(tmp_path), Runs())
    assert "was validated on 1/3, not on 1/4" in refused(folds=4)
    assert "was trained on data, not on other" in refused(data="other")
    assert "is a run" in refused(out=tmp_path / "runs/fold-1")


def test_the_flags_arrive(monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(command, "run_folds", lambda args, run: found.append((args.folds, args.fold, run)) or 0)
    assert main(["train", "data", "--out", str(tmp_path), "--folds", "5", "--fold", "2"]) == 0
    assert main(["train", "data", "--out", str(tmp_path), "--fold", "2"]) == 0
    assert found == [(5, 2, command.run), (None, 2, command.run)]


def test_spread_is_that_of_a_sample():
    found = cross_validated([{"iou": 0.5, "dice": 1.0}, {"iou": 0.7}])
    assert found == {"iou": {"mean": pytest.approx(0.6), "spread": pytest.approx(0.2 / 2**0.5), "folds": [0.5, 0.7]}}


@pytest.mark.parametrize(
    ("flags", "allowed"),
    [
        (ProcessFlags(processes=2), False),
        (ProcessFlags(coordinator="h:1"), False),
        (ProcessFlags(), True),
        (ProcessFlags(processes=1), True),
    ],
)
def test_folds_are_trained_by_one_process(flags, allowed, tmp_path):
    if allowed:
        runs = Runs()
        assert run_folds(asked(tmp_path, folds=2, distributed=flags), runs) == 0
        assert len(runs.calls) == 2  # as few folds as there can be
    else:
        with pytest.raises(InputError, match="give each its own --fold"):
            run_folds(asked(tmp_path, distributed=flags), Runs())


@pytest.mark.parametrize(
    ("changes", "allowed"), [({}, False), ({"fold": 2}, True), ({"distributed": ProcessFlags(processes=1)}, True)]
)
def test_a_task_of_slurm_trains_a_fold_of_its_own(changes, allowed, tmp_path, monkeypatch):
    step = {
        "SLURM_JOB_ID": "12",
        "SLURM_STEP_NODELIST": "n",
        "SLURM_NTASKS": "4",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "1",
    }
    for name, value in step.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    if allowed:
        assert run_folds(asked(tmp_path, **changes), Runs()) == 0
    else:
        with pytest.raises(InputError, match="give each its own --fold"):
            run_folds(asked(tmp_path, **changes), Runs())


def test_a_fold_has_the_flags_of_the_command_but_trains_alone(tmp_path):
    found = []
    ask = asked(tmp_path, recipe="modern", resume=True, json=True, report=False, distributed=ProcessFlags(processes=1))
    runs = Runs()
    run_folds(ask, lambda args: found.append(args) or runs(args))
    first, second, _ = found
    assert (first.recipe, first.network, first.resume, first.report) == ("modern", ask.network, False, False)
    assert (second.recipe, second.network, second.json) == (
        None,
        NetworkFlags(config=tmp_path / "runs/fold-1/run.json"),
        True,
    )
    assert first.distributed == second.distributed == ProcessFlags(processes=1)
    assert second.settings == ask.settings.replace(validate="2/3")


def test_with_json_a_run_prints_nothing_else(tmp_path, capsys):
    runs = Runs()
    for as_json in (True, False):
        folder = tmp_path / str(as_json)
        assert run_folds(asked(folder, json=as_json), lambda args: print("a table of the run") or runs(args)) == 0
        assert ("a table of the run" in capsys.readouterr().out) != as_json


@pytest.mark.parametrize(
    ("steps", "saved", "best", "expected"),
    [(6, 6, True, True), (6, 7, True, True), (6, 5, True, False), (6, None, True, False), (6, 6, False, False)],
)
def test_a_run_is_finished_after_its_last_step(steps, saved, best, expected, tmp_path):
    run_folds(asked(tmp_path, fold=1), Runs())
    out = tmp_path / "runs/fold-1"
    (out / "state/6").rename(out / f"state/{saved}") if saved else shutil.rmtree(out / "state")
    if not best:
        shutil.rmtree(out / "best")
    assert finished(out) == expected
    assert not finished(tmp_path / "none")


def test_each_fold_is_announced(tmp_path, capsys):
    runs = tmp_path / "runs"
    run_folds(asked(tmp_path, folds=2, fold=1), Runs())
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"fold 1 of 2: {runs / 'fold-1'}", "not trained yet: fold 2 of 2; --fold N trains one"]
    run_folds(asked(tmp_path, folds=2), Runs())
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        f"fold 1 of 2: {runs / 'fold-1'} is finished",
        f"fold 2 of 2: {runs / 'fold-2'}, with the network and settings of {runs / 'fold-1'}",
    ]


def test_of_equal_scores_the_last_is_the_best_as_in_training(tmp_path):
    out = tmp_path / "runs/fold-1"
    run_folds(asked(tmp_path, fold=1), Runs())
    records = [
        {"step": 1, "iou": 0.5, "dice": 0.1},
        {"step": 2, "iou": 0.5, "dice": 0.2},
        {"step": 2, "iou": 0.4, "dice": 0.3},
        {"step": 3},
        {"step": 4, "loss": 1},
    ]
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in records))
    assert _scores(out) == {"iou": 0.5, "dice": 0.2}


def test_one_fold_has_no_spread():
    assert math.isnan(cross_validated([{"iou": 0.5}])["iou"]["spread"])


@pytest.mark.slow
def test_two_folds_trained_and_joined(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("unet_tools.arguments.data.SYNTHETIC", {2: (4, 48)})
    runs, flags = tmp_path / "runs", ["--steps", "1", "--tile", "28", "--no-report", "--widths", "2", "3"]
    assert main(["train", "synthetic", "--out", str(runs), "--folds", "2", *flags, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)  # one document
    assert record["folds"] == 2
    images = [json.loads((runs / f"fold-{n}/run.json").read_text())["validation_images"] for n in (1, 2)]
    assert len(images[0]) == len(images[1]) == 2
    assert not set(images[0]) & set(images[1])
    assert main(["ensemble", str(runs), "-o", str(runs / "ensemble")]) == 0
    assert Checkpoint.load(runs / "ensemble").config.to_dict()["members"] == 2
