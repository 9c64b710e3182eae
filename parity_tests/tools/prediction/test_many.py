"""Several images in one command: a refused image does not affect the others."""

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
from unet_tools.prediction.many import SharedRuntime, images_at_a_time, refuse, run_each

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


class Counting:
    """Doubles its images; records the batch sizes, and the number of concurrent calls."""

    config, record = CONFIG, None

    def __init__(self, name="onnx", refused=None):
        self.name, self.refused = name, refused
        self.sizes, self.inside, self.overlaps = [], 0, 0

    def run(self, images, *noise):
        self.inside += 1
        self.overlaps += self.inside > 1
        time.sleep(0.02)
        self.inside -= 1
        self.sizes.append(len(images))
        if self.refused is not None and (images == self.refused).any():
            raise InputError("refused")
        return 2 * images + sum(noise)


def tiles(count):
    return [np.full((1, 28 + 4 * (n % 2), 28, 1), n, np.float32) for n in range(count)]


@pytest.mark.parametrize(("name", "most"), [("onnx", 4), ("jax", 1)])
def test_threads_share_a_runtime_and_each_has_its_own_logits(name, most):
    runtime = Counting(name)
    shared = SharedRuntime(runtime)
    assert (shared.name, shared.config, shared.record) == (name, CONFIG, None)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(shared.run, tiles(32)))
    for n, logits in enumerate(found):
        np.testing.assert_array_equal(logits, 2 * tiles(32)[n])
    assert (sum(runtime.sizes), max(runtime.sizes), runtime.overlaps) == (32, most, 0)
    np.testing.assert_array_equal(shared.run(tiles(1)[0], np.array(3, np.float32)), tiles(1)[0] + 3)


def test_tiles_that_would_take_too_much_memory_are_computed_alone(monkeypatch):
    monkeypatch.setattr("unet_tools.prediction.many.BATCH_MEMORY", 2**10)
    runtime = Counting()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(SharedRuntime(runtime).run, tiles(16)))
    assert max(runtime.sizes) == 1


def test_what_is_refused_fails_alone():
    shared = SharedRuntime(Counting(refused=3))
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(shared.run, each) for each in tiles(8)]
    assert [isinstance(each.exception(), InputError) for each in done] == [n == 3 for n in range(8)]


def test_only_small_files_without_a_memory_limit_share_the_process(tmp_path):
    small, large = tmp_path / "a.png", tmp_path / "b.tif"
    small.write_bytes(b"x")
    large.write_bytes(bytes(2**20 + 1))
    assert images_at_a_time([small, small], None, "onnx") == 8
    assert images_at_a_time([small, small], None, "jax") == 2
    assert images_at_a_time([small, large], None, "onnx") == 1
    assert images_at_a_time([small], None, "onnx") == 1
    assert images_at_a_time([small, small], 2**30, "onnx") == 1
    assert images_at_a_time([small, Path("https://host/a.zarr")], None, "onnx") == 1


@pytest.mark.parametrize("runtime", ["jax", "onnx", "torch"])
def test_small_images_have_the_bytes_of_one_at_a_time(home, monkeypatch, runtime):
    np.save("b.npy", np.full((40, 44), 0.5, np.float32))
    monkeypatch.setattr(f"{__name__}.COMMAND", [*COMMAND[:-1], runtime])
    assert main(COMMAND) == 0
    monkeypatch.setattr("unet_tools.commands.predict.images_at_a_time", lambda *args: 1)
    assert main([*COMMAND[:6], "alone", *COMMAND[7:]]) == 0
    for name in "abc":
        assert (home / "out" / f"{name}.npy").read_bytes() == (home / "alone" / f"{name}.npy").read_bytes()


def test_of_many_failures_five_are_named():
    failed = [{"image": name, "error": f"{name} is damaged"} for name in "abcdef"]
    refuse("image", [{"image": "z"}])
    for records, message in (
        (failed[:1], "a is damaged"),
        ([*failed[:5], {"image": "z"}], "5 of 6 failed: a, b, c, d, e; fix them and do it again"),
        (failed, "6 of 6 failed: a, b, c, d, e, ...; fix them and do it again"),
    ):
        with pytest.raises(InputError) as caught:
            refuse("image", records, "do it again")
        assert str(caught.value) == message
    with pytest.raises(InputError, match="fix them and run the same command with --skip-existing"):
        refuse("image", failed)


def test_a_message_names_a_file_and_that_of_the_only_job_is_not_printed(capsys):
    def fails(message):
        raise InputError(message)

    def run(*messages):
        files = [Path("a.png"), Path("b.png")]
        return run_each("case", {f"n{k}": (files, partial(fails, text)) for k, text in enumerate(messages)})

    assert run("dark") == [{"case": "n0", "error": "a.png: dark"}]
    assert capsys.readouterr().err == ""
    assert [each["error"] for each in run("dark", "b.png is dark")] == ["a.png: dark", "b.png is dark"]
    assert capsys.readouterr().err == "a.png: dark\nb.png is dark\n"


def test_a_file_of_a_mebibyte_is_still_small(tmp_path):
    (tmp_path / "a").write_bytes(bytes(2**20))
    assert images_at_a_time([tmp_path / "a"] * 2, None, "torch") == 8
