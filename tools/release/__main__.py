"""Builds and checks everything that a release publishes. Publishes nothing.

    python -m tools.release -o dist

From the last commit: the source distribution and the wheel, `twine check`, the wheel's content compared with the
repository, an installation with each extra in a fresh environment where commands of the README run, a bill of
materials, licences, checksums. Needs pip install '.[release]'. Stops at the first thing that is wrong; OUT appears
whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unet_spec import InputError
from unet_spec.errors import OutputError
from unet_spec.files import replacing_folder
from unet_tools.console import notes

from .bill import bill, licences
from .environments import COMMANDS, OTHERS, UNTRIED, Installed, extras_of, run_in, shown, try_extra
from .version import Version, read_version
from .wheel import Content, check_wheel

ROOT = Path(__file__).parents[2]
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Args:
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder to write: new, or that of an earlier release."""
    extras: tuple[str, ...] | None = None
    """Extras to try in fresh environments, each as pip takes it; "" is none. Default: every one that fits anywhere."""
    draft: bool = False
    """Build although files are not committed or the changelog has no section of this version."""


def check_committed(root: Path) -> None:
    """Raises InputError if the repository has changes that are not committed."""
    if changed := git(root, "status", "--porcelain").decode().splitlines():
        raise InputError(f"{len(changed)} files are not committed, such as {changed[0][3:]}; commit them, or --draft")


def git(root: Path, *arguments: str) -> bytes:
    """What git prints. Raises InputError if it fails."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True)
    if done.returncode:
        raise InputError(f"git {arguments[0]}: {done.stderr.decode().strip().splitlines()[-1]}")
    return done.stdout


def export_sources(root: Path, folder: Path) -> None:
    """Writes the files of the last commit, and nothing else that lies in the repository, to a new folder."""
    with tarfile.open(fileobj=io.BytesIO(git(root, "archive", "--format=tar", "HEAD"))) as archive:
        archive.extractall(folder, filter="data")


def build(sources: Path, folder: Path) -> tuple[Path, Path]:
    """Builds the source distribution, and the wheel from it; `twine check` reads both. Returns (wheel, sdist).

    Raises:
        InputError: a step fails, or the extra `release` is not installed.
    """
    run_in(sources, [sys.executable, "-m", "build", "--outdir", str(folder)], "python -m build")
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    check = [sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)]
    run_in(sources, check, "twine check")
    return wheel, sdist


def sums(folder: Path) -> str:
    """Lines as `sha256sum -c` reads them, for every file but this list."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def notes_of(version: Version, commit: str, content: Content, tried: Mapping[str, list[str]]) -> str:
    """The page of the release: its changes, and what was checked."""
    lines = [f"# unet-twins {version.number}", "", version.changes, "", "## What was checked", ""]
    lines += [
        f"- commit {commit}; twine check; {len(content.files)} files, {content.size:,} bytes, as the repository's"
    ]
    for extra, commands in tried.items():
        lines.append(
            f"- `pip install 'unet-twins[{extra}]'`, fresh:" if extra else "- `pip install unet-twins`, fresh:"
        )
        lines += [f"    - `{shown(command)}`" for command in commands]
    lines += [f"- not tried: `[{extra}]`, {why}" for extra, why in UNTRIED.items()]
    if not version.dated:
        lines += ["", f"**A draft**: CHANGELOG.md has no section [{version.number}]."]
    return "\n".join(lines) + "\n"


def check_target(folder: Path) -> None:
    """Raises InputError if `folder` holds anything but an earlier release."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / SUMS).is_file():
        raise InputError(f"{folder} holds other files, and no {SUMS} of a release; give a new folder")


def run(args: Args) -> int:
    check_target(args.out)
    possible = extras_of(ROOT)
    if unknown := [extra for extra in args.extras or () if extra not in possible]:
        raise InputError(f"[{unknown[0]}] is not tried; there are {', '.join(f'[{e}]' for e in possible)}")
    version = read_version(ROOT)
    if not args.draft:
        check_committed(ROOT)
        if not version.dated:
            raise InputError(f"CHANGELOG.md has no section [{version.number}]; rename [Unreleased], or --draft")
    commit = git(ROOT, "rev-parse", "HEAD").decode().strip()
    with tempfile.TemporaryDirectory(prefix="unet-release-") as work, replacing_folder(args.out, check_target) as out:
        here = Path(work)
        export_sources(ROOT, here / "sources")
        wheel, _ = build(here / "sources", out)
        if wheel.name.split("-")[1] != version.number:
            raise InputError(f"{wheel.name} is not version {version.number}; is the last commit the one to release?")
        content = check_wheel(wheel, here / "sources")
        notes.print(f"{wheel.name}: {content.size:,} bytes, {len(content.files)} files", soft_wrap=True)
        installed, tried = {}, {}
        for number, extra in enumerate(possible if args.extras is None else args.extras):
            tried[extra] = [*COMMANDS.get(extra, OTHERS).commands]
            installed[extra] = try_all(extra, wheel, here / f"environment-{number}")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        texts = {
            "CONTENTS.txt": content.listing(),
            "sbom.cdx.json": json.dumps(bill(version.number, digest, installed), indent=2) + "\n",
            "LICENCES.txt": licences(installed),
            "RELEASE.md": notes_of(version, commit, content, tried),
        }
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8")
        (out / SUMS).write_text(sums(out), encoding="utf-8")
    notes.print(f"{args.out}: unet-twins {version.number}, checked; nothing is published", soft_wrap=True)
    return 0


def try_all(extra: str, wheel: Path, folder: Path) -> list[Installed]:
    """`try_extra` with the versions of constraints.txt, told line by line."""
    return try_extra(extra, wheel, folder, ROOT / "constraints.txt", lambda line: notes.print(line, soft_wrap=True))


def main() -> int:
    """Exit codes: 0 done, 1 a result cannot be written, 2 something is wrong with the release."""
    try:
        return run(tyro.cli(Args, prog="python -m tools.release", description=__doc__))
    except InputError as e:
        print(f"tools.release: {e}", file=sys.stderr)
        return 1 if isinstance(e, OutputError) else 2


if __name__ == "__main__":
    sys.exit(main())
