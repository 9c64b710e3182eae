"""The layout: a test file of the same name for each module, at most a dozen entries per folder, and existing paths."""

import ast
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from . import ROOT

ROOMS = {
    "unet_spec": "spec",
    "unet_data": "data",
    "unet_jax": "jax",
    "unet_torch": "torch",
    "export/unet_export": "export",
    "tools/unet_tools": "tools",
    "benchmarks": "benchmarks",
}
"""Packages and the folders of parity_tests that mirror them."""

BATTERY = "battery/test_battery.py"
ELSEWHERE: dict[str, tuple[str, str]] = {
    "unet_spec/families/*": (
        "spec/families/test_numbers.py",
        "numbers of every architecture; the rest is the battery's",
    ),
    "unet_spec/ops/*": (BATTERY, "every operation is compared with the layers of both twins"),
    "unet_spec/sources/*": ("spec/sources/test_recorded.py", "recorded checkpoints of every source"),
    "unet_spec/tiling/strip_runtime.py": ("spec/tiling/test_strips.py", "strips of both twins"),
    "unet_jax/families/*": (BATTERY, "twins"),
    "unet_torch/families/*": (BATTERY, "twins"),
    "unet_jax/nn/*": (BATTERY, "layers of the twins"),
    "unet_torch/nn/*": (BATTERY, "layers of the twins"),
    "unet_jax/losses/*": ("battery/test_losses.py", "twins"),
    "unet_torch/losses/*": ("battery/test_losses.py", "twins"),
    "unet_jax/training/settings/*": ("jax/training/test_settings.py", "names, values that are refused, and zero"),
    "unet_*/registry.py": ("spec/test_registry.py", "one registration for the spec and both twins"),
    "unet_*/runtime.py": ("spec/families/test_multiresunet.py", "both runtimes against the reference"),
    "unet_*/strips.py": ("spec/tiling/test_strips.py", "strips of both twins"),
    "unet_torch/weights.py": ("spec/weights/test_weight_map.py", "bits through both twins"),
    "unet_data/datasets/opening/*": ("data/datasets/test_opening.py", "folders and files, whole and by windows"),
    "unet_data/datasets/splitting/*": ("data/datasets/test_splitting.py", "shares, folds, groups and classes"),
    "unet_data/inference/*": ("tools/commands/test_predict_tiled.py", "the way of an image, by its command"),
    "unet_data/io/stores/open_zarr.py": ("data/io/stores/test_remote.py", "in folders and behind URLs"),
    "unet_data/objects/basins.py": ("data/objects/test_parts.py", "against a sequential reference"),
    "unet_data/objects/results.py": ("tools/commands/test_predict_objects.py", "by its command"),
    "tools/unet_tools/prediction/object_scores.py": ("tools/commands/test_evaluate_objects.py", "by its command"),
    "tools/unet_tools/prediction/objects.py": ("tools/commands/test_predict_objects.py", "by its command"),
    "unet_data/nnunet/serve.py": ("export/serving/test_triton_nnunet.py", "runs in Triton's Python module"),
    "export/unet_export/onnx/ops_families.py": ("export/onnx/test_families.py", "ONNX of every architecture"),
    "export/unet_export/packages/zoo_card.py": ("export/packages/test_bioimageio.py", "written with every package"),
    "export/unet_export/runtimes/*": ("tools/commands/test_predict_tiled.py", "tiles in every runtime"),
    "export/unet_export/serving/repository.py": ("export/serving/test_triton.py", "shared by both repositories"),
    "tools/unet_tools/checking/torch_reference.py": ("export/precision/test_simulation.py", "against the simulation"),
    "tools/unet_tools/training/beginning.py": ("tools/commands/test_train.py", "by its command"),
    "tools/unet_tools/training/outcome.py": ("tools/commands/test_train_outcome.py", "by its command"),
    "tools/unet_tools/training/stored.py": ("tools/commands/test_train.py", "by its command"),
    "tools/unet_tools/console.py": ("tools/test_cli.py", "what every command prints"),
    "tools/unet_tools/progress.py": ("tools/commands/test_predict_memory.py", "lines in place of a bar"),
    "tools/unet_tools/napari_plugin/panel.py": ("tools/napari_plugin/test_segment.py", "what both widgets share"),
    "tools/unet_tools/diff/*": ("tools/diff/test_compare.py", "planted bugs, forward and backward"),
    "tools/unet_tools/prediction/nnunet_folder.py": ("tools/commands/test_predict_nnunet.py", "by its command"),
    "tools/unet_tools/prediction/records.py": ("tools/commands/test_predict_memory.py", "the report of a prediction"),
    "tools/unet_tools/report/*": ("tools/report/test_page.py", "parts of the page"),
    "benchmarks/*": ("benchmarks/test_record.py", "programs that take hours; each is imported and listed"),
}
"""Modules without a test file of the same name: the file that tests them, and the reason. `*` also matches
subfolders."""

LARGE = {
    "unet_spec": "small modules that others begin with",
    "unet_spec/families": "one file a network",
    "unet_jax/families": "one file a network",
    "unet_torch/families": "one file a network",
    "benchmarks": "one file a program",
    "tools/unet_tools/commands": "one file a command",
    "unet_data": "one folder a step of an image's way, and the modules that several steps share",
    "unet_data/inference": "one file a step of a prediction",
    "unet_data/metrics": "one file a measure",
}
"""Folders with more than a dozen entries, and the reason."""


def tracked(*patterns: str) -> list[Path]:
    """Files under version control and new files that are not ignored, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [Path(line) for line in lines if (ROOT / line).is_file()]


def has_logic(file: Path) -> bool:
    """More than 40 lines, with a function or method."""
    text = (ROOT / file).read_text(encoding="utf-8")
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return len(text.splitlines()) > 40 and any(isinstance(node, functions) for node in ast.walk(ast.parse(text)))


def mirrored(package: str, module: Path) -> Path:
    below = module.relative_to(package)
    return Path("parity_tests") / ROOMS[package] / below.parent / f"test_{below.name}"


@pytest.mark.parametrize("package", ROOMS)
def test_every_module_has_a_test_file_of_its_name(package):
    modules = [f for f in tracked(f"{package}/**.py") if f.name != "__init__.py" and has_logic(f)]
    missing = [m.as_posix() for m in modules if not (ROOT / mirrored(package, m)).exists()]
    assert [m for m in missing if not any(fnmatch(m, pattern) for pattern in ELSEWHERE)] == []


def test_what_is_tested_elsewhere_exists_and_is_tested_there():
    modules = [f.as_posix() for package in ROOMS for f in tracked(f"{package}/**.py")]
    for pattern, (file, _) in ELSEWHERE.items():
        assert any(fnmatch(m, pattern) for m in modules), f"nothing is called {pattern}"
        assert (ROOT / "parity_tests" / file).exists(), file


def test_a_folder_has_a_dozen_entries():
    folders: dict[Path, set[str]] = {}
    for file in tracked(*ROOMS):
        for folder in list(file.parents)[:-1]:
            entry = file.relative_to(folder).parts[0]
            if entry not in ("__init__.py", "__init__.pyi", "py.typed", "README.md"):
                folders.setdefault(folder, set()).add(entry)
    many = {folder.as_posix(): len(entries) for folder, entries in folders.items() if len(entries) > 12}
    assert set(many) <= set(LARGE), many


def test_no_images_or_weights_lie_in_the_tree():
    kinds = ("npy", "npz", "tif", "tiff", "nii", "nii.gz", "safetensors", "onnx", "pth")
    found = [f for f in tracked(*(f"*.{kind}" for kind in kinds)) if f.parent != Path("parity_tests/fixtures")]
    assert found == [], "left by an example that ran in this folder?"


def test_paths_of_tests_that_texts_name_exist():
    texts = [f for f in tracked() if f.suffix in (".py", ".md", ".toml", ".ipynb") or f.parts[0] == ".ci"]
    named = {(f, m) for f in texts for m in re.findall(r"parity_tests/[\w/]+\.py", (ROOT / f).read_text("utf-8"))}
    assert sorted(f"{f} names {m}" for f, m in named if not (ROOT / m).exists()) == []
