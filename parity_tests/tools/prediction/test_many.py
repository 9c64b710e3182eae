"""Several images in one command: one that is refused keeps no other from its result."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_tools.cli import main
from unet_tools.prediction.many import OneAtATime, images_at_a_time, run_each

CONFIG = preset("paper", widths=(2, 4), in_channels=1)
TRAINED = DataSpec((0.5,), (0.18,))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current directory, with a network ck/ and images a.npy, b.npy (spoilt) and c.npy."""
    monkeypatch.chdir(tmp_path)
    Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0, np.float32), TRAINED).save("ck")
    rng = np.random.default_rng(0)
    for name in "abc":
        np.save(f"{name}.npy", rng.normal(0.5, 0.18, (40, 44)).astype(np.float32))
    spoil("b.npy")
    return tmp_path


def spoil(name):
    image = np.load(name)
    image[0, 0] = np.nan
    np.save(name, image)


COMMAND = ["predict", "ck", "a.npy", "b.npy", "c.npy", "-o", "out", "--runtime", "jax"]


def test_one_that_is_refused_keeps_no_other_from_its_result(home, capsys):
    assert main([*COMMAND, "--json"]) == 2
    printed = capsys.readouterr()
    records = json.loads(printed.out)["images"]
    assert [("error" in r, r["image"]) for r in records] == [(False, "a.npy"), (True, "b.npy"), (False, "c.npy")]
    assert "NaN" in records[1]["error"]
    assert printed.err.count("NaN") == 1
    assert "1 of 3 failed: b.npy;" in printed.err
    assert sorted(p.name for p in (home / "out").iterdir()) == ["a.npy", "c.npy"]


def test_what_exists_is_refused_left_out_or_replaced_as_one_says(home, capsys):
    (home / "out").mkdir()
    (home / "out" / "a.npy").write_bytes(b"mine")
    np.save("b.npy", np.full((40, 44), 0.5, np.float32))
    assert main(COMMAND) == 2
    assert "a.npy exists" in capsys.readouterr().err
    assert main([*COMMAND, "--skip-existing"]) == 0
    assert (home / "out" / "a.npy").read_bytes() == b"mine"
    assert sorted(p.name for p in (home / "out").iterdir()) == ["a.npy", "b.npy", "c.npy"]
    capsys.readouterr()
    assert main([*COMMAND, "--skip-existing", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == []
    assert main([*COMMAND, "--skip-existing", "--overwrite"]) == 2
    assert "leave out one" in capsys.readouterr().err
    assert main([*COMMAND, "--overwrite"]) == 0
    assert np.load("out/a.npy").shape == (40, 44)


def test_all_refused_are_counted_and_the_only_one_is_reported_once(home, capsys):
    spoil("a.npy")
    spoil("c.npy")
    assert main(COMMAND) == 2
    assert "3 of 3 failed: a.npy, b.npy, c.npy;" in capsys.readouterr().err
    assert main(["predict", "ck", "b.npy", "-o", "o.npy", "--runtime", "jax"]) == 2
    assert capsys.readouterr().err.count("NaN") == 1


def test_jobs_run_two_at_a_time_and_are_recorded_in_their_order(capsys):
    met = threading.Barrier(2, timeout=10)

    def job(name):
        if name in "ab":
            met.wait()  # never returns if the two do not run at the same time
        if name == "c":
            raise InputError("c.png: is damaged")
        return {"image": name}

    work = {name: ([Path(f"{name}.png")], partial(job, name)) for name in "abcd"}
    records = run_each("image", work, at_a_time=2)
    assert records == [{"image": "a"}, {"image": "b"}, {"image": "c", "error": "c.png: is damaged"}, {"image": "d"}]
    assert capsys.readouterr().err.count("is damaged") == 1


def test_after_an_interrupt_no_further_job_begins():
    begun = []

    def job(name):
        begun.append(name)
        time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_each("image", {name: ([], partial(job, name)) for name in "abcdefgh"}, at_a_time=2)
    assert len(begun) <= 4


def test_a_shared_runtime_computes_for_one_thread_at_a_time():
    inside, most = [], []

    class Slow:
        name, config, record = "slow", CONFIG, None

        def run(self, x, *noise):
            inside.append(x)
            time.sleep(0.01)
            most.append(len(inside))
            inside.remove(x)
            return x, *noise

    shared = OneAtATime(Slow())
    assert (shared.name, shared.config, shared.run(-1, 2)) == ("slow", CONFIG, (-1, 2))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(shared.run, range(8))) == [(n,) for n in range(8)]
    assert max(most) == 1


def test_only_small_files_without_a_memory_limit_share_the_process(tmp_path):
    small, large = tmp_path / "a.png", tmp_path / "b.tif"
    small.write_bytes(b"x")
    large.write_bytes(bytes(2**20 + 1))
    assert images_at_a_time([small, small], None) == 2
    assert images_at_a_time([small, large], None) == 1
    assert images_at_a_time([small], None) == 1
    assert images_at_a_time([small, small], 2**30) == 1
    assert images_at_a_time([small, Path("https://host/a.zarr")], None) == 1


def test_small_images_have_the_bytes_of_one_at_a_time(home, monkeypatch):
    np.save("b.npy", np.full((40, 44), 0.5, np.float32))
    assert main(COMMAND) == 0
    monkeypatch.setattr("unet_tools.commands.predict.images_at_a_time", lambda files, memory: 1)
    assert main([*COMMAND[:6], "alone", *COMMAND[7:]]) == 0
    for name in "abc":
        assert (home / "out" / f"{name}.npy").read_bytes() == (home / "alone" / f"{name}.npy").read_bytes()
