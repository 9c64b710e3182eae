"""The log of a run: means, speeds, and scores that do not exist."""

import math
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import unet_jax.training.evaluator
import unet_jax.training.log
import unet_jax.training.trainer
from unet_data.metrics.evaluate import measure
from unet_jax import compilation_cache
from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.log import RunLog, append_log, read_log, write_log
from unet_jax.training.loop import train
from unet_spec import InputError

from .small_runs import SMALL, WITHOUT_DROPOUT, data


def test_scores_that_do_not_exist_are_null_in_the_log(tmp_path):
    path, record = tmp_path / "log.jsonl", {"step": 2, "iou": 0.5, "v_rand": math.nan, "saved": True}
    write_log(path, [record])
    append_log(path, record | {"step": 3})
    assert path.read_text().splitlines()[1] == '{"step": 3, "iou": 0.5, "v_rand": null, "saved": true}'
    first, second = read_log(path, up_to=3)
    assert math.isnan(first["v_rand"])
    assert second | {"v_rand": None} == {"step": 3, "iou": 0.5, "v_rand": None, "saved": True}


def test_a_log_that_cannot_grow_is_one_line(tmp_path):
    from unet_jax.training.log import append_log

    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a file that is always full, as Linux has it")
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"the disk is full [^;]*$"):  # nothing is saved yet
        append_log(tmp_path / "log.jsonl", {"step": 1})
    (tmp_path / "state" / "1").mkdir(parents=True)
    with pytest.raises(InputError, match=r"the disk is full .*continue with --resume"):
        append_log(tmp_path / "log.jsonl", {"step": 1})


SHORT = SMALL.replace(steps=3, log_every=1, validate_every=9, learning_rate=0.01, augmentation=NONE)


def losses(result):
    return {record["step"]: record["loss"] for record in result.log if "loss" in record}


def test_a_line_of_the_log_is_the_mean_since_the_last_one(tmp_path):
    each = losses(train(WITHOUT_DROPOUT, SHORT.replace(steps=5), *data(), tmp_path / "each"))
    few = losses(train(WITHOUT_DROPOUT, SHORT.replace(steps=5, log_every=3), *data(), tmp_path / "few"))
    assert few == {3: pytest.approx(np.mean([each[n] for n in (1, 2, 3)])), 5: pytest.approx((each[4] + each[5]) / 2)}


@pytest.mark.slow
def test_steps_are_counted_over_the_time_that_they_took(tmp_path, monkeypatch):
    """A clock that advances by one second per step and by a hundred per validation."""
    clock = [0.0]
    make, look = unet_jax.training.trainer.shared_step, measure

    def shared_step(*arguments):
        step = make(*arguments)

        def slow(*given, **named):
            clock[0] += 1
            return step(*given, **named)

        return slow

    def slow_measure(*arguments):
        clock[0] += 100
        return look(*arguments)

    monkeypatch.setattr(unet_jax.training.trainer, "shared_step", shared_step)
    monkeypatch.setattr(unet_jax.training.trainer, "compile_within_memory", lambda step, *_: step)
    monkeypatch.setattr(unet_jax.training.evaluator, "measure", slow_measure)
    monkeypatch.setattr(unet_jax.training.log, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    settings = SHORT.replace(log_every=4, validate_every=3)
    train(WITHOUT_DROPOUT, settings.replace(steps=2), *data(), tmp_path / "run")
    result = train(WITHOUT_DROPOUT, settings.replace(steps=11), *data(), tmp_path / "run", resume=True)
    speeds = {r["step"]: r["steps_per_second"] for r in result.log if "loss" in r}
    assert speeds == {2: 1.0, 4: 1.0, 8: 1.0, 11: 1.0}


@pytest.mark.slow
def test_the_log_has_the_learning_rate_and_ten_measurements_or_more(tmp_path):
    """The learning rate of the last step; the warm-up starts at 0."""
    settings = SMALL.replace(steps=12, schedule="cosine", warmup=0.25, learning_rate=0.03, log_every=1)
    events = []
    result = train(WITHOUT_DROPOUT, settings, *data(), tmp_path / "run", report=events.append)
    rates = [record["learning_rate"] for record in result.log if "loss" in record]
    assert rates[:4] == pytest.approx([0, 0.01, 0.02, 0.03])
    assert rates[4] > rates[-1] > 0
    assert [record["step"] for record in result.log if "iou" in record] == list(range(1, 13))
    assert events[0] == {"step": 0, "compiling": "the training step, 1 tile(s) of 28x28"}
    assert events[1].keys() == {"step", "compiled", "kept"}
    assert events[2:] == result.log
    assert read_log(tmp_path / "run" / "log.jsonl", 12) == result.log


@pytest.mark.slow
def test_a_resumed_run_takes_its_step_from_the_disk(tmp_path):
    """Also for another number of steps, since the schedule's length is an argument of the program."""
    settings, events = SMALL.replace(steps=2, learning_rate=0.0123, schedule="cosine"), []
    for steps in (2, 4):
        jax.clear_caches()  # as another process
        with compilation_cache(tmp_path / "programs"):
            train(WITHOUT_DROPOUT, settings.replace(steps=steps), *data(), tmp_path / "run", True, events.append)
    assert [event["kept"] for event in events if "compiled" in event] == [False, True]


def test_records_are_written_and_reported_as_they_come(tmp_path, monkeypatch):
    """The speed counts from the last record, or from where the clock was started."""
    seconds = iter([10.0, 14.0, 20.0, 22.0])
    monkeypatch.setattr(unet_jax.training.log, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    reported = []
    log = RunLog(tmp_path / "log.jsonl", reported.append)
    log.start_clock(3)
    log.add_loss(11, 0.5, 0.01)
    log.add_scores(11, {"iou": 0.25})
    log.start_clock(11)
    log.add_loss(12, 0.25, 0.02)
    log.add_scores(12, {})
    expected = [
        {"step": 11, "loss": 0.5, "learning_rate": 0.01, "steps_per_second": 2.0},
        {"step": 11, "iou": 0.25},
        {"step": 12, "loss": 0.25, "learning_rate": 0.02, "steps_per_second": 0.5},
        {"step": 12, "saved": True},
    ]
    assert log.records == reported == read_log(tmp_path / "log.jsonl", 12) == expected
    log.announce({"step": 12, "compiling": "x"})
    assert reported[-1] == {"step": 12, "compiling": "x"}
    assert log.records == expected


def test_only_process_0_writes_and_reports(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    log = RunLog(tmp_path / "log.jsonl", lambda record: pytest.fail("reported"))
    log.restart(0, False)
    log.add_scores(2, {"iou": 0.25})
    log.announce({})
    assert log.records == [{"step": 2, "iou": 0.25}]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("step", "again", "kept"),
    [(0, False, 0), (4, False, 4), (4, True, 3), (6, True, 5), (6, False, 6), (9, False, 6)],
)
def test_a_resumed_run_drops_what_came_after_its_state(step, again, kept, tmp_path):
    """Scores that are measured again are dropped, but not the loss of their step."""
    records = [{"step": 2, "loss": 4.0}, {"step": 2, "iou": 0.1}, {"step": 4, "loss": 3.0}, {"step": 4, "iou": 0.2}]
    records += [{"step": 6, "loss": 2.0}, {"step": 6, "iou": 0.3}]
    write_log(tmp_path / "log.jsonl", records)
    log = RunLog(tmp_path / "log.jsonl", lambda record: None)
    log.restart(step, again)
    assert log.records == read_log(tmp_path / "log.jsonl", 99) == records[:kept]


@pytest.mark.parametrize("line", ["[1]", "{}", '{"step": 1.0}', '{"step": true}', '{"step": 1, "iou": "x"}'])
def test_a_line_that_is_no_record_is_named(line, tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n' + line + "\n")
    with pytest.raises(InputError, match=r"log\.jsonl, line 2: expected a record of numbers with a whole 'step'"):
        read_log(tmp_path / "log.jsonl", 0)
    assert read_log(tmp_path / "absent.jsonl", 1) == []
