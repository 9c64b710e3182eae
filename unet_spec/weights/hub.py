"""Downloads checkpoint folders from the Hugging Face hub, and uploads them. Needs the extra "hub".

Only JSON, safetensors and Markdown files are transferred, because these formats cannot execute code when opened.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import first_line
from .installed import find_network

PATTERNS = ("*.json", "*.safetensors", "*.md")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_folder(source: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder of `source`: `source` itself if it exists, else an installed network, or the local copy of the hub's
    repository "owner/name".

    Args:
        source: a folder, a name (see `find_network`) or a repository.
        revision: a branch, tag or, for reproducible content, commit of the repository. Default: its main branch.

    Raises:
        InputError: the repository cannot be downloaded and there is no copy, a revision is given for a folder, or no
            installed package has a network of this name.
    """
    path = find_network(source)
    if path.exists() or isinstance(source, os.PathLike) or not _REPOSITORY.fullmatch(source):
        if revision is not None:
            raise InputError(f"revision {revision!r} is for a repository of the hub; {source} is not one")
        return path  # its reader reports errors
    hub = _import(f"there is no folder {source}; as a repository of the hub, it")
    try:
        return Path(hub.snapshot_download(source, revision=revision, allow_patterns=list(PATTERNS)))
    except Exception as e:  # many kinds: no such repository, no access, no network
        requested = source if revision is None else f"{source} at {revision}"
        raise InputError(
            f"there is no folder {source}, and the hub did not send {requested} ({first_line(e)})"
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
    """Uploads a folder to the hub's repository "owner/name", which is created if needed.

    Args:
        save: function that writes the folder.
        repository: "owner/name".
        private: whether a new repository is private.
        revision: the branch. Default: main.
        message: message of the commit.
        token: access token. Default: that of `huggingface-cli login`.

    Returns:
        The address of the commit.

    Raises:
        InputError: the name is not that of a repository, or the hub refuses the upload.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise InputError(f"{repository!r} is not a repository of the hub; give owner/name")
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
            raise InputError(f"the hub did not accept {repository} ({first_line(e)})") from None
    return str(getattr(commit, "commit_url", commit))


def _import(what: str) -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise InputError(f"{what} needs huggingface_hub; pip install 'unet-twins[hub]'") from None
    return huggingface_hub
