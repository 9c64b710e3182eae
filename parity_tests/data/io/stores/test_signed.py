"""Addresses with a query: read as without, and the query, which is a secret, is nowhere but in requests."""

import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest

tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
zarr = pytest.importorskip("zarr", reason="zarr is not installed")
pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from unet_data import open_pictures, open_stored
from unet_data.inference.settings import PredictSettings
from unet_data.io.stores import signed
from unet_data.io.stores.remote import identity, shown, url_of
from unet_spec import Checkpoint, DataSpec, random_tensors
from unet_spec.families.unet import PRESETS
from unet_tools.cli import main
from unet_tools.prediction.cluster import Task, work

from ...datasets.test_remote_dataset import large_image
from ..helpers import noise, refused
from . import http_server
from .http_server import serving

SECRET = "5e1fd00d"
QUERY = f"X-Amz-Credential=me%2Fs3&X-Amz-Date=1&X-Amz-Signature={SECRET}"
IMAGE = noise(300, 260)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    tifffile.imwrite(folder / "big.tif", IMAGE, tile=(64, 64), compression="zlib")
    (folder / "text.tif").write_text("no image")
    large_image(folder / "image.ome.zarr", 256)
    config = PRESETS["paper"].replace(widths=(2, 4), dropout=0.0)
    Checkpoint(config, random_tensors(config.graph, 3, np.float32), DataSpec()).save(folder / "ck")
    with serving(folder, query=QUERY) as (url, _):
        yield folder, url_of(url / "x")[:-2]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(signed, "_secrets", {})


def absent(folder, *texts):
    for file in folder.rglob("*"):
        assert SECRET not in str(file)
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
    for text in texts:
        assert SECRET not in text


@pytest.mark.parametrize("flags", [["--json"], []])
def test_a_prediction_by_a_signed_address_is_that_of_the_file(flags, served, tmp_path, capfd, caplog):
    folder, host = served
    caplog.set_level(logging.DEBUG)
    command = ["predict", str(folder / "ck"), f"{host}/big.tif?{QUERY}", "--output", "probabilities", "--tile", "92"]
    command += [*flags, "-o", str(tmp_path / "far") + "/"]
    assert main([*command, "--shard", "1/3"]) == 0
    assert list((tmp_path / "far").iterdir()) == [tmp_path / "far/big.tif.part"]
    absent(tmp_path)
    signed._secrets.clear()
    assert main(command) == 0
    assert list((tmp_path / "far").iterdir()) == [tmp_path / "far/big.tif"]
    out, err = capfd.readouterr()
    assert f"{host}/big.tif" in out + err
    absent(tmp_path, out, err, caplog.text)
    assert "fsspec.http" in {record.name for record in caplog.records}, "its debug messages have the address"
    near = tmp_path / "near.tif"
    assert main(["predict", str(folder / "ck"), str(folder / "big.tif"), *command[3:7], "-o", str(near)]) == 0
    assert (tmp_path / "far/big.tif").read_bytes() == near.read_bytes()


def test_a_path_with_a_query_is_read_in_python_likewise(served):
    folder, host = served
    [far] = open_pictures(f"{host}/big.tif?{QUERY}", 2, whole_below=0)
    np.testing.assert_array_equal(far[:300, :260][..., 0], IMAGE)
    absent(folder / "none", repr(far), far.where)
    path = signed.unsigned(f"{host}/big.tif?{QUERY}")
    absent(folder / "none", str(path), shown(path), str(identity(path)))


def test_the_query_of_a_zarr_is_that_of_its_parts(served):
    folder, host = served
    [far], [near] = (
        open_pictures(name, 2) for name in (f"{host}/image.ome.zarr/0?{QUERY}", folder / "image.ome.zarr/0")
    )
    np.testing.assert_array_equal(far[:256, :256], near[:256, :256])
    assert far.facts == near.facts
    data, own = (open_stored(name) for name in (f"{host}/image.ome.zarr/?{QUERY}", folder / "image.ome.zarr"))
    np.testing.assert_array_equal(np.asarray(data.labels[0]), np.asarray(own.labels[0]))
    absent(folder / "none", repr(data), data.source, data.path)


@pytest.mark.slow
def test_another_process_reads_with_the_query(served, tmp_path):
    folder, host = served
    image = open_stored(f"{host}/image.ome.zarr?{QUERY}").images[0]
    (tmp_path / "image").write_bytes(pickle.dumps(image))
    script = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))[10:20, :20][:10, :20].sum())"
    found = subprocess.run([sys.executable, "-c", script, str(tmp_path / "image")], capture_output=True, text=True)
    assert found.stdout.strip() == str(np.asarray(image)[10:20, :20].sum()), found.stderr
    absent(folder / "none", repr(image))


def test_a_worker_of_dask_reads_with_the_query(served, tmp_path):
    folder, host = served
    path = signed.unsigned(f"{host}/big.tif?{QUERY}")
    task = Task(folder / "ck", "onnx", path, tmp_path / "o.npy", PredictSettings(tile=92))
    sent = pickle.dumps(task)
    signed._secrets.clear()
    assert work(pickle.loads(sent)).error == ""
    absent(folder / "none", repr(task))


REFUSED = {
    "text.tif": (QUERY, "is not a TIFF"),
    "gone.tif": (QUERY, "no such file or folder"),
    "big.tif": (QUERY + "0", "its server refuses the request (HTTP 403); the signature in its query may have expired"),
    "image.ome.zarr": (QUERY + "0", "image.ome.zarr"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_is_one_line_without_the_query(name, served, tmp_path, capfd):
    folder, host = served
    query, message = REFUSED[name]
    command = ["predict", str(folder / "ck"), f"{host}/{name}?{query}", "-o", str(tmp_path / "o.tif")]
    assert main(command) == 2
    out, err = capfd.readouterr()
    assert message in err
    assert host in err
    absent(tmp_path, out, err, refused(open_pictures, f"{host}/{name}?{query}", 2))


def test_a_signature_that_expires_while_an_image_is_read_is_not_printed(served, monkeypatch):
    folder, host = served
    [image] = open_pictures(f"{host}/image.ome.zarr?{QUERY}", 2)
    monkeypatch.setattr(http_server, "BROKEN", ("image.ome.zarr/0/c/1/1",))
    said = refused(image.__getitem__, (slice(200, 210), slice(200, 210)))
    assert said.startswith(f"{host}/image.ome.zarr: cannot be read (ClientResponseError: 403")
    absent(folder / "none", said)
    [image] = open_pictures(f"{host}/big.tif?{QUERY}", 2)
    monkeypatch.setattr(http_server, "BROKEN", ("big.tif",))
    said = refused(image.__getitem__, (slice(200, 210), slice(200, 210)))
    assert said.startswith(f"{host}/big.tif: cannot be read (ClientResponseError: 403")
    absent(folder / "none", said)


def test_an_unsigned_request_says_that_it_is_refused(served):
    _, host = served
    said = refused(open_pictures, f"{host}/big.tif", 2)
    assert said == f"{host}/big.tif: its server refuses the request (HTTP 403)"


def test_a_script_would_contain_the_query(served, tmp_path, capfd):
    folder, host = served
    command = ["predict", str(folder / "ck"), f"{host}/big.tif?{QUERY}", "-o", str(tmp_path / "o.tif")]
    assert main([*command, "--slurm", str(tmp_path / "job.sh")]) == 2
    out, err = capfd.readouterr()
    assert "--slurm: the script would contain the query" in " ".join(err.split())
    assert not list(tmp_path.iterdir())
    absent(tmp_path, out, err)


@pytest.mark.parametrize("name", ["big.tif", "image.ome.zarr"])
def test_a_login_in_an_address_is_sent_and_printed_nowhere(name, served, tmp_path, capfd, caplog):
    """Characters such as @ and / are quoted in an address."""
    folder, _ = served
    caplog.set_level(logging.DEBUG)
    with serving(folder, login=f"ada:@/{SECRET}") as (url, _):
        host = url_of(url / "x")[:-2]
        login, out = host.replace("://", f"://ada:%40%2F{SECRET}@"), tmp_path / "o.npy"
        command = ["predict", str(folder / "ck"), f"{login}/{name}", "--tile", "92", "-o", str(out)]
        assert main(command) == 0
        near = tmp_path / "near.npy"
        assert main([*command[:2], str(folder / name), *command[3:5], "-o", str(near)]) == 0
        assert out.read_bytes() == near.read_bytes()
        far = open_pictures(f"{login}/{name}", 2, whole_below=0)[0]
        signed._secrets.clear()
        wrong = refused(open_pictures, f"{login.replace('ada', 'bob')}/big.tif", 2)
        assert wrong.endswith(
            "big.tif: its server refuses the request (HTTP 401); are the user and the password right?"
        )
        assert main([*command[:2], f"{login}/big.tif", "-o", str(out), "--slurm", str(tmp_path / "job.sh")]) == 2
    said = capfd.readouterr()
    assert "the script would contain the password of http" in said.err
    assert host in said.out + said.err
    absent(tmp_path, *said, repr(far), far.where, wrong, caplog.text)
    assert "ada" not in "".join(said)


def test_a_login_in_the_message_of_a_library_is_hidden():
    assert (
        signed.hidden("500, url='https://ada:5e1f@store/a', s3://k:5e1f@b/c") == "500, url='https://store/a', s3://b/c"
    )
    assert signed.hidden("ask ada@example.org, https://store/@a") == "ask ada@example.org, https://store/@a"


def test_a_redirect_to_a_signed_address_is_not_printed():
    assert signed.hidden(f"500, url='https://store/a?{QUERY}', not (https://b?{QUERY})") == (
        "500, url='https://store/a', not (https://b)"
    )
