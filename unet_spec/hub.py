"""A checkpoint folder from the Hugging Face hub, or to it. Needs the extra "hub"; nothing else in the project does.

Only JSON, safetensors and Markdown travel: no file of these formats can run anything when it is opened.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unet_spec.errors import InputError

PATTERNS = ("*.json", "*.safetensors", "*.md")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_folder(source: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder that `source` names: itself, if it exists, else the local copy of the hub's repository "owner/name".

    revision: a branch, a tag or, to be sure of what comes, a commit of that repository; None: its main branch. Raises
    InputError: neither folder nor repository, the hub cannot be reached and there is no copy, revision of a folder.
    """
    path = Path(source)
    if path.exists() or isinstance(source, os.PathLike) or not _REPOSITORY.fullmatch(source):
        if revision is not None:
            raise InputError(f"revision {revision!r} is for a repository of the hub; {source} is a folder")
        return path  # whoever reads it says what is wrong with it
    hub = _import(f"there is no folder {source}; as a repository of the hub, it")
    try:
        return Path(hub.snapshot_download(source, revision=revision, allow_patterns=list(PATTERNS)))
    except Exception as e:  # of many kinds: no such repository, no access, no network
        wanted = source if revision is None else f"{source} at {revision}"
        raise InputError(
            f"there is no folder {source}, and the hub does not give {wanted} ({_first_line(e)})"
        ) from None


def push(
    save: Callable[[Path], None],
    repository: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str = "Upload a checkpoint",
    token: str | None = None,
) -> str:
    """Uploads the folder that `save` writes to the hub's repository "owner/name", which is made if need be.

    private: of a repository that is made. revision: the branch; None: main. token: None takes the one that
    `huggingface-cli login` keeps. Returns the address of the commit. Raises InputError.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise InputError(f"{repository!r} is no repository of the hub; give owner/name")
    hub = _import("pushing to the hub")
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        try:
            api = hub.HfApi(token=token)
            api.create_repo(repository, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(repository, branch=revision, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                revision=revision,
                commit_message=message,
                allow_patterns=list(PATTERNS),
            )
        except Exception as e:
            raise InputError(f"the hub does not take {repository} ({_first_line(e)})") from None
    return str(getattr(commit, "commit_url", commit))


def _import(what: str) -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise InputError(f"{what} needs huggingface_hub; pip install 'unet-twins[hub]'") from None
    return huggingface_hub


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
