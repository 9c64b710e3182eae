"""`unet completion`: bash itself completes commands, options, values and files."""

import shutil
import subprocess
import sys

import pytest

from unet_tools.cli import COMMANDS, main

BASH = shutil.which("bash")


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The script, in a file."""
    if BASH is None:
        pytest.skip("needs bash")
    done = subprocess.run(
        [sys.executable, "-m", "unet_tools.cli", "completion", "bash"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    path = tmp_path_factory.mktemp("completion") / "unet"
    path.write_text(done.stdout)
    return path


def completed(script, line, folder="."):
    """Bash's completions for the last word of a command line."""
    words = line.split(" ")
    program = f"""source {script}; COMP_WORDS=({" ".join(f"'{w}'" for w in words)}); COMP_CWORD={len(words) - 1}; _unet
    printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run([BASH, "-c", program], capture_output=True, text=True, check=True, cwd=folder)
    assert done.stderr == ""
    return done.stdout.split()


def test_commands(script):
    assert completed(script, "unet ") == list(COMMANDS)
    assert completed(script, "unet ex") == ["export"]


def test_options_of_the_command(script):
    assert completed(script, "unet train --learning") == ["--learning-rate"]
    assert completed(script, "unet train --no-mi") == ["--no-mirror"]
    assert completed(script, "unet train d --out r --help") == ["--help", "--help-all"]
    assert "--learning-rate" not in completed(script, "unet predict --")
    assert completed(script, "unet evaluate --surf") == ["--surface"]


def test_values(script):
    assert completed(script, "unet train d --labels ") == ["auto", "semantic", "instance", "overlapping"]
    assert completed(script, "unet train d --labels se") == ["semantic"]
    assert completed(script, "unet train --loss cross_entropy+") == ["cross_entropy+dice"]
    assert "onnx" in completed(script, "unet predict a b --runtime ")


def test_files_elsewhere(script, tmp_path):
    (tmp_path / "image.tif").write_text("")
    assert completed(script, "unet predict im", tmp_path) == ["image.tif"]
    assert completed(script, "unet predict a image.tif -o im", tmp_path) == ["image.tif"]


def test_zsh_gets_the_same_behind_its_own_head(capsys, monkeypatch):
    monkeypatch.setattr("unet_tools.commands.completion.script", lambda: "SCRIPT")
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out == "#compdef unet\nautoload -U +X bashcompinit && bashcompinit\nSCRIPT"


def test_a_command_whose_package_is_missing_is_left_out_and_that_is_said(capsys, monkeypatch):
    import unet_tools.commands.completion as completion

    def flags(name, original=completion._flags):
        if name == "train":
            raise ModuleNotFoundError("No module named 'jax'", name="jax.numpy")
        return original(name)

    monkeypatch.setattr(completion, "_flags", flags)
    monkeypatch.setattr(completion, "COMMANDS", {"train": "", "info": ""})
    text = completion.script()
    assert "info)" in text
    assert "train)" not in text
    assert "unet train: its options are left out, since jax is not installed" in capsys.readouterr().err
