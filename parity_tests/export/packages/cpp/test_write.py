"""The C++ folder: its content, and, compiled with warnings as errors and sanitizers, the same labels as Python.

`UNET_OPENVINO` names the folder of the Python package openvino, `UNET_ONNXRUNTIME_ROOT` a folder with ONNX Runtime's
include/ and lib/. Leaks inside ONNX Runtime's library are not counted.
"""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unet_data import most_probable, prepare
from unet_export import OnnxRuntime, emit_onnx, onnx_bytes, write_cpp
from unet_export.bundle.describe import default_tile
from unet_export.packages.cpp import write
from unet_export.reference import reference_logits, whole_input
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors

ENGINES = {"openvino": os.environ.get("UNET_OPENVINO"), "onnxruntime": os.environ.get("UNET_ONNXRUNTIME_ROOT")}
HOW = {"openvino": "UNET_OPENVINO", "onnxruntime": "UNET_ONNXRUNTIME_ROOT"}
NETWORKS = {
    "valid": preset("paper", widths=(4, 8), out_channels=3),
    "same": preset("same", widths=(4, 8), out_channels=1),
    "3-D": preset("paper", spatial_dims=3, widths=(3, 4)),
    "in one piece": preset("unet++", widths=(3, 4, 5), in_channels=1),
}


def checkpoint(config):
    names = ("no thing", "cell", "border")[: config.classes]
    return Checkpoint(config, random_tensors(config.graph, 2), DataSpec((0.5,), (0.2,), names))


def test_the_folder_is_whole_and_can_be_replaced(tmp_path):
    point = checkpoint(NETWORKS["valid"])
    for _ in range(2):
        facts = write_cpp(point, tmp_path / "cpp")
    names = {p.name for p in (tmp_path / "cpp").iterdir()}
    assert {"unet.hpp", "images.hpp", "segment.cpp", "CMakeLists.txt", "model.onnx", "network.txt"} <= names
    assert facts["class_names"] == "no thing\tcell\tborder"
    assert (facts["mean"], facts["std"]) == ("0.5", "0.2")
    assert f"axis0 {facts['axis0']}\n" in (tmp_path / "cpp/network.txt").read_text()
    size = [int(n) for n in facts["golden_size"].split()]
    logits = np.fromfile(tmp_path / "cpp/golden_logits.f32", "<f4")
    assert logits.size == np.prod(size) * 3
    assert np.fromfile(tmp_path / "cpp/golden_image.f32", "<f4").max() > 1


def test_what_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="neither empty"):
        write_cpp(checkpoint(NETWORKS["valid"]), tmp_path)
    with pytest.raises(InputError, match="is a file"):
        write_cpp(checkpoint(NETWORKS["valid"]), tmp_path / "thesis.txt")
    config = NETWORKS["valid"]
    overlapping = Checkpoint(config, random_tensors(config.graph, 1), DataSpec(overlapping=True))
    with pytest.raises(InputError, match="one class per pixel"):
        write_cpp(overlapping, tmp_path / "cpp")
    by_image = Checkpoint(config, overlapping.tensors, DataSpec((0.5,), (0.2,), normalization="image"))
    with pytest.raises(InputError, match=r"the C\+\+ class"):
        write_cpp(by_image, tmp_path / "cpp")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.fixture(scope="module", params=ENGINES)
def segment(request, tmp_path_factory):
    """The program, compiled: a function from arguments to the finished process."""
    name, root = request.param, ENGINES[request.param]
    if not root:
        pytest.skip(f"{HOW[name]} is not set")
    if missing := [tool for tool in ("cmake", "c++") if not shutil.which(tool)]:
        pytest.skip(f"{missing[0]} is not installed")
    folder = tmp_path_factory.mktemp(name)
    write_cpp(checkpoint(NETWORKS["valid"]), folder / "cpp")
    where = f"-DOpenVINO_DIR={root}/cmake" if name == "openvino" else f"-DONNXRUNTIME_ROOT={root}"
    flags = "-DCMAKE_CXX_FLAGS=-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
    for command in (["-S", folder / "cpp", "-B", folder / "build", f"-DUNET_ENGINE={name}", where, flags],
                    ["--build", folder / "build"]):  # fmt: skip
        done = subprocess.run(["cmake", *map(str, command)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (folder / "leaks").write_text("leak:libonnxruntime\nleak:libtbb\n")
    environment = {
        "LD_LIBRARY_PATH": f"{root}/{'libs' if name == 'openvino' else 'lib'}",
        "LSAN_OPTIONS": f"suppressions={folder / 'leaks'}:print_suppressions=0",
        "TBB_ENABLE_SANITIZERS": "1",  # otherwise TBB loads a library in a way that sanitizers refuse
    }

    def run(*arguments):
        command = [str(folder / "build/segment"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return run


def expected_labels(point, image):
    config = point.config
    runtime = OnnxRuntime(onnx_bytes(emit_onnx(config, point.tensors, point.data)))
    prepared = prepare(image[None], config, point.data)
    logits = runtime.run(whole_input(config.geometry, prepared[0]))
    return most_probable(logits)[(0, *map(slice, image.shape[:-1]))]


@pytest.mark.slow
class TestProgram:
    @pytest.mark.parametrize("name", NETWORKS)
    def test_it_gives_pythons_labels(self, segment, name, tmp_path):
        point = checkpoint(NETWORKS[name])
        write_cpp(point, tmp_path / "cpp")
        checked = segment(tmp_path / "cpp", "--check")
        assert checked.returncode == 0, checked.stderr
        assert "passed" in checked.stdout
        volume = point.config.spatial_dims == 3
        image = np.random.default_rng(4).integers(0, 65536, (21, 60, 50) if volume else (90, 71)).astype(np.uint16)
        tifffile.imwrite(tmp_path / "image.tif", image, photometric="minisblack")
        expected = expected_labels(point, image[..., None])
        tiles = ("44",) if point.config.geometry.shift_invariant else ()
        for limit in ((), tiles):
            done = segment(tmp_path / "cpp", tmp_path / "image.tif", tmp_path / "mask.tif", *limit)
            assert done.returncode == 0, done.stderr
            found = tifffile.imread(tmp_path / "mask.tif")
            assert found.shape == expected.shape
            assert (found == expected).mean() >= 0.9999
        assert "no thing: " in done.stdout

    def test_a_wrong_network_fails_the_check(self, segment, tmp_path):
        write_cpp(checkpoint(NETWORKS["valid"]), tmp_path / "cpp")
        golden = tmp_path / "cpp/golden_logits.f32"
        (np.fromfile(golden, "<f4") * np.float32(1.001)).tofile(golden)
        done = segment(tmp_path / "cpp", "--check")
        assert (done.returncode, "FAILED" in done.stdout) == (1, True)

    def test_files(self, segment, tmp_path):
        point = checkpoint(NETWORKS["same"])
        write_cpp(point, tmp_path / "cpp")
        stack = np.random.default_rng(4).integers(0, 256, (3, 33, 20)).astype(np.uint8)
        tifffile.imwrite(tmp_path / "big.tif", stack, photometric="minisblack", byteorder=">", rowsperstrip=7)
        (tmp_path / "one.pgm").write_bytes(b"P5\n# made by hand\n20 33\n255\n" + stack[0].tobytes())
        expected = np.stack([expected_labels(point, plane[..., None]) for plane in stack])
        assert segment(tmp_path / "cpp", tmp_path / "big.tif", tmp_path / "mask.tif").returncode == 0
        assert (tifffile.imread(tmp_path / "mask.tif") == expected).mean() >= 0.9999
        assert segment(tmp_path / "cpp", tmp_path / "one.pgm", tmp_path / "mask.pgm").returncode == 0
        mask = np.frombuffer((tmp_path / "mask.pgm").read_bytes()[-660:], np.uint8).reshape(33, 20)
        assert (mask == expected[0]).mean() >= 0.9999

    def test_bad_files_give_one_line(self, segment, tmp_path):
        write_cpp(checkpoint(NETWORKS["same"]), tmp_path / "cpp")
        image = np.zeros((9, 7), np.uint16)
        tifffile.imwrite(tmp_path / "good.tif", image, photometric="minisblack")
        content = (tmp_path / "good.tif").read_bytes()
        bad = {
            "empty.tif": b"",
            "text.pgm": b"P5 what",
            "huge.pgm": b"P5 99999999 99999999 255\n",
            "odd.tif": b"II+\0" + bytes(20),
        }
        bad |= {f"cut{n}.tif": content[:n] for n in (7, 9, 60, len(content) - 1)}
        bad |= {f"changed{n}.tif": content[:n] + b"\xff" * 4 + content[n + 4 :] for n in range(4, 120, 9)}
        for name, data in bad.items():
            (tmp_path / name).write_bytes(data)
            done = segment(tmp_path / "cpp", tmp_path / name, tmp_path / "mask.tif")
            if done.returncode == 0 and name.startswith("changed"):
                continue  # a tag that nobody reads
            assert done.returncode == 2, (name, done.stderr)
            assert done.stderr.startswith("segment: "), done.stderr
            assert done.stderr.count("\n") == 1, done.stderr
        missing = segment(Path("nowhere"), tmp_path / "good.tif", tmp_path / "mask.tif")
        assert "cannot read nowhere/network.txt" in missing.stderr


def test_facts_are_values_by_name_and_axis():
    config = preset("nnunet", spatial_dims=3, widths=(2, 3, 4), strides=((1, 1, 1), (1, 2, 2), (1, 2, 4)), sides=1)
    geometry = config.geometry
    point = Checkpoint(config, random_tensors(config.graph, 0), DataSpec(class_names=("a  b", "c")))
    facts = write._facts(point)
    tile = default_tile(geometry) or (0, 0, 0)
    for axis in range(3):
        halo = geometry.halo(axis) if geometry.shift_invariant else (0, 0)
        grid = geometry.grid(axis)
        values = (grid.minimum, grid.step, geometry.margin(axis), *halo, tile[axis])
        assert facts[f"axis{axis}"] == " ".join(map(str, values))
    assert (facts["format"], facts["model"], facts["spatial_dims"]) == ("unet-cpp 1", "model.onnx", "3")
    assert facts["class_names"] == "a b\tc"
    assert facts["checkpoint_digest"] == point.digest()


def test_without_a_normalisation_nothing_is_subtracted_and_divided_by_one():
    def facts_of(config):
        return write._facts(Checkpoint(config, random_tensors(config.graph, 0), DataSpec()))

    facts = facts_of(NETWORKS["valid"].replace(in_channels=2))
    assert (facts["mean"], facts["std"]) == ("0.0 0.0", "1.0 1.0")
    assert (facts["in_channels"], facts["out_channels"]) == ("2", "3")
    assert facts["class_names"] == "class 0\tclass 1\tclass 2"
    assert facts["axis0"].startswith("18 2 8 ")
    assert facts["axis0"].endswith(" 572")
    assert facts_of(NETWORKS["in one piece"])["axis0"].endswith(" 0 0 0")


def test_the_example_is_the_image_with_its_reference(tmp_path):
    point = checkpoint(NETWORKS["same"])
    image = np.random.default_rng(0).integers(0, 65536, (21, 18, 1)).astype(np.uint16)
    facts = write_cpp(point, tmp_path / "cpp", golden_image=image)
    assert (facts["golden_size"], facts["golden_full_scale"], facts["bound"]) == ("1 21 18", "65535.0", "1e-05")
    np.testing.assert_array_equal(np.fromfile(tmp_path / "cpp/golden_image.f32", "<f4"), image.ravel())
    prepared = prepare(image[None], point.config, point.data)
    logits = reference_logits(point, whole_input(point.config.geometry, prepared[0]))[0, :21, :18]
    np.testing.assert_array_equal(np.fromfile(tmp_path / "cpp/golden_logits.f32", "<f4"), np.float32(logits).ravel())
