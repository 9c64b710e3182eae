"""The ablation table: what its variants change, what it repeats, what it says."""

import dataclasses
import json
import os

import pytest

from benchmarks.ablation import SHOWN, VARIANTS, WHOLE, Args, jobs_of, main, table
from unet_jax.training.planning.recipes import RECIPES
from unet_spec import InputError, preset


@pytest.mark.parametrize("recipe", VARIANTS)
def test_each_variant_changes_its_ingredient_alone(recipe):
    whole = RECIPES[recipe].settings, preset("paper", **RECIPES[recipe].network)
    assert VARIANTS[recipe][WHOLE](*whole) == whole
    seen = []
    for name, change in VARIANTS[recipe].items():
        new = [dataclasses.asdict(part) for part in change(*whole)]
        changed = {
            k for old, now in zip(whole, new, strict=True) for k, v in dataclasses.asdict(old).items() if v != now[k]
        }
        if "momentum" in changed:  # with the rate, so that a step goes as far
            changed.remove("learning_rate")
        assert len(changed) == (name != WHOLE) + name.count(", "), f"{name} changes {sorted(changed)}"
        seen.append(new)
    assert all(seen.count(one) == 1 for one in seen), "two variants are the same"


def test_a_seed_is_finished_before_the_next_begins(tmp_path):
    jobs = list(jobs_of(Args("synthetic", tmp_path / "a.json", seeds=(0, 1))))
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    assert len(jobs) == 2 * sum(map(len, VARIANTS.values()))


def test_an_unknown_variant_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no variant no such; there are: .*no EMA"):
        list(jobs_of(Args("synthetic", tmp_path / "a.json", only=("no such",))))


def test_a_line_of_the_table_is_mean_and_deviation_of_its_seeds():
    def run(seed, v_rand, steps=3, gpu=None, tile=252):
        scores = dict.fromkeys(SHOWN, 0.5) | {"v_rand": v_rand, "seconds": 90.0, "cores": 2, "gpu": gpu}
        return {
            "recipe": "modern",
            "variant": WHOLE,
            "seed": seed,
            "steps": steps,
            "tile": tile,
            "widths": [2, 4],
            "precision": "float32",
            **scores,
        }

    lines = table([run(0, 0.8), run(1, 0.9, gpu="a GPU"), run(0, 0.7, steps=9), run(0, 0.6, tile=572)])
    assert lines[0] == (
        "modern",
        WHOLE,
        "2 … 4, 3",
        "2",
        "0.8500 ± 0.0707",
        *["0.5000 ± 0.0000"] * (len(SHOWN) - 1),
        "3.0 one core, 1.5 a GPU",
    )
    assert lines[1][:5] == ("modern", WHOLE, "2 … 4, 3, tiles of 572", "1", "0.6000")
    assert lines[2][:5] == ("modern", WHOLE, "2 … 4, 9", "1", "0.7000")


@pytest.mark.slow
def test_a_table_in_two_sittings_repeats_nothing(tmp_path, capsys):
    out = tmp_path / "results" / "a.json"
    small = Args("synthetic", out, (2, 4), 2, 60, seeds=(0,), recipes=("modern",), only=(WHOLE, "no EMA"))
    assert main(dataclasses.replace(small, only=(WHOLE,))) == 0
    document = json.loads(out.read_text())
    first, here = document["runs"], document["hardware"]
    out.write_text(json.dumps(document | {"hardware": "a large one; no GPU"}))
    assert main(dataclasses.replace(small, jobs=min(2, len(os.sched_getaffinity(0))))) == 0
    document = json.loads(out.read_text())
    runs = document["runs"]
    assert document["hardware"] == f"a large one; no GPU; {here}"
    assert runs[0] == first[0]
    assert [r["variant"] for r in runs] == [WHOLE, "no EMA"]
    assert "no EMA" in out.with_suffix(".md").read_text()
    capsys.readouterr()
    with pytest.raises(InputError, match=r"a\.json is of synthetic: .*give another --out"):
        main(dataclasses.replace(small, data=str(_other(tmp_path))))


def _other(folder):
    import numpy as np
    from PIL import Image

    for kind in ("images", "labels"):
        (folder / "other" / kind).mkdir(parents=True)
        for i in range(6):
            pixels = np.random.default_rng(i).integers(0, 2, (64, 64)).astype(np.uint8)
            Image.fromarray(pixels * (255 if kind == "images" else 1)).save(folder / "other" / kind / f"{i}.png")
    return folder / "other"
