"""The plan of a training step: cached, searched, printed; and, with libtpu, compiled for a TPU."""

import json
import os
import subprocess
import sys

import pytest

from unet_jax import TrainSettings, preset
from unet_jax.training.devices.step_cost import StepCost
from unet_spec import InputError
from unet_tools.cli import main
from unet_tools.training.plans import step_plan

CONFIG = preset("paper", widths=(2, 4))


def made(config, settings, target):
    """A stand-in for the compiler: memory grows with the batch, and halves with remat; time does not grow."""
    batch, hardware = settings.optimisation.batch, settings.hardware
    memory = batch * (1 if hardware.remat else 2)
    return StepCost(
        target="tpu-v5e:1x1",
        kind="1 x TPU v5e",
        devices=1,
        tile=settings.data.tile_shape(config),
        batch=batch,
        precision=hardware.precision,
        remat=hardware.remat,
        fits=memory <= 8,
        memory=memory,
        capacity=8,
        compile_seconds=1.0,
        temporaries=1,
        arguments=2,
        code=3,
        flops=4e9,
        bytes_accessed=2e9,
        collectives={"all-reduce": (26, 2**20)},
        compute_seconds=0.25 if hardware.precision == "float32" else 0.125,
        memory_seconds=0.1,
    )


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setenv("UNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("unet_jax.training.devices.target.find_target", lambda name: name)
    monkeypatch.setattr(
        "unet_jax.training.devices.step_cost.compile_step", lambda *given: calls.append(given) or made(*given)
    )
    return calls


def test_a_plan_is_kept_for_the_same_inputs_only(compiled):
    settings = TrainSettings().replace(tile=28)
    first, kept = step_plan.plan_step(CONFIG, settings, "tpu-v5e:1x1")
    again, kept_again = step_plan.plan_step(CONFIG, settings, "tpu-v5e:1x1")
    assert (kept, kept_again, len(compiled)) == (False, True, 1)
    assert json.loads(json.dumps(first)) == again
    for config, other, device in (
        (CONFIG.replace(widths=(2, 6)), settings, "tpu-v5e:1x1"),
        (CONFIG, settings.replace(batch=2), "tpu-v5e:1x1"),
        (CONFIG, settings, "tpu-v5e:2x2"),
    ):
        assert not step_plan.plan_step(config, other, device)[1]
    assert len(compiled) == 4


def test_this_machine_is_compiled_for_each_time(compiled):
    for _ in range(2):
        assert not step_plan.plan_step(CONFIG, TrainSettings(), "here")[1]
    assert len(compiled) == 2


def test_a_plan_that_is_not_whole_is_computed_again(compiled, tmp_path):
    step_plan.plan_step(CONFIG, TrainSettings(), "tpu-v5e:1x1")
    (file,) = (tmp_path / "cache").rglob("*.json")
    file.write_text("{")
    assert not step_plan.plan_step(CONFIG, TrainSettings(), "tpu-v5e:1x1")[1]


def test_the_search_doubles_the_batch_then_computes_activations_again(compiled):
    costs = [cost for cost, _ in step_plan.search(CONFIG, TrainSettings(), "tpu-v5e:1x1")]
    tried = [(c["precision"], c["batch"], c["remat"]) for c in costs[:6]]
    assert tried == [
        *[("bfloat16", batch, False) for batch in (1, 2, 4, 8)],
        ("bfloat16", 8, True),
        ("bfloat16", 16, True),
    ]
    assert {c["precision"] for c in costs[6:]} == {"float32"}
    best = step_plan.best_of(costs)
    assert (best["batch"], best["precision"], best["remat"]) == (8, "bfloat16", True)
    with pytest.raises(InputError, match="no step fits"):
        step_plan.best_of([c | {"fits": False} for c in costs])


def test_flags_reach_the_step(compiled):
    flags = "--batch 4 --accumulate 2 --precision bfloat16 --remat --fsdp --space 1 --tile 28 --recipe modern --json"
    code = main(
        ["plan", "--train", "--preset", "paper", "--widths", "2", "4", "--device", "tpu-v6e:1x1", *flags.split()]
    )
    ((config, settings, device),) = compiled
    assert (code, device, config.widths, config.norm) == (0, "tpu-v6e:1x1", (2, 4), "batch")
    assert settings.optimisation.optimizer == "adamw"
    assert (settings.optimisation.batch, settings.optimisation.accumulate, settings.data.tile) == (4, 2, 28)
    assert (settings.hardware.precision, settings.hardware.remat, settings.hardware.fsdp) == ("bfloat16", True, True)


def test_the_table_says_what_the_numbers_are(compiled, capsys):
    assert main(["plan", "--train", "--widths", "2", "4", "--tile", "28", "--device", "tpu-v5e:1x1"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "1 x TPU v5e",
        "1 tile(s) of 28x28, float32",
        "4e+09",
        "2e+09 (2 operations a byte)",
        "26 all-reduce (1 MiB)",
        "250 ms, by operations (compute 250 ms, memory 100 ms, link 0 ms)",
    ):
        assert words in text, text


def test_the_search_names_the_fastest_and_fails_where_nothing_fits(compiled, capsys):
    assert main(["plan", "--train", "--widths", "2", "4", "--device", "tpu-v5e:1x1", "--search"]) == 0
    assert "fastest by its minimum time: batch 8, bfloat16, remat" in capsys.readouterr().out
    assert main(["plan", "--train", "--widths", "2", "4", "--device", "tpu-v5e:1x1", "--batch", "9"]) == 1
    assert "does not fit" in capsys.readouterr().out


def test_an_image_or_a_training_step_is_planned(capsys):
    assert main(["plan", "--train", "--image", "500"]) == 2
    assert "give either --image SIZE" in capsys.readouterr().err


@pytest.mark.slow
def test_a_step_compiles_for_a_tpu_that_is_not_here(tmp_path):
    """The whole computation in a separate process; operations that only a CPU has would not compile."""
    library = os.environ.get("UNET_LIBTPU")
    if not library:
        pytest.skip("set UNET_LIBTPU to libtpu.so, as the package libtpu has it")
    command = "plan --train --preset paper --widths 4 8 --tile 28 --batch 2 --precision bfloat16 --device tpu-v5e:1x1"
    environment = os.environ | {"TPU_LIBRARY_PATH": library, "UNET_CACHE": str(tmp_path)}
    program = [sys.executable, "-m", "unet_tools.cli", *command.split(), "--json"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cost = json.loads(done.stdout)
    assert cost["fits"]
    assert cost["kind"] == "1 x TPU v5e"
    assert cost["capacity"] == 16 * 2**30
    assert cost["flops"] > 0
    assert cost["bound_seconds"] > 0
