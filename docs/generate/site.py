"""A hook of mkdocs: files outside docs/ become part of the site, and the doors of packages their reference.

Documents link to each other as they lie in the repository, so that a link works wherever the text is read. In the
site, README.md is repository/README.md, and so on; links are rewritten to match. A linked folder, or a file that has no
text to show, is named without a link.

A line `::: PACKAGE` of a page becomes one such line for each public name, by the module that it comes from: the doors
are lists of imports (`__init__.pyi`), which mkdocstrings does not follow.
"""

from __future__ import annotations

import ast
import os
import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(!?\[(?:[^\]\[]|\[[^\]]*\])*\])\(([^)\s]+?)(#[^)\s]*)?\)")
SHOWN = {".md", ".png", ".svg", ".json", ".tsv"}
OUTSIDE = "repository"
PACKAGE = re.compile(r"^::: (unet_\w+)$", re.MULTILINE)
FOLDERS = {"unet_export": "export/unet_export", "unet_tools": "tools/unet_tools"}


def links(text: str) -> set[str]:
    """The targets of a document's links to files, without anchors."""
    return {target for _, target, _ in LINK.findall(text) if ":" not in target and not target.startswith("#")}


def resolved(target: str, page: str) -> str | None:
    """The path in the repository that a link of `page` leads to; None where it leads out of it."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
    return None if path.startswith("..") else path


def in_site(path: str) -> str:
    """Where a file of the repository lies in the site's sources."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{OUTSIDE}/{path}"


def in_repository(uri: str) -> str:
    """The inverse of `in_site`."""
    return uri.removeprefix(f"{OUTSIDE}/") if uri.startswith(f"{OUTSIDE}/") else f"docs/{uri}"


def linked_files() -> list[str]:
    """Every file outside docs/ that a page of the site links to, or that such a file links to."""
    pages = [p.relative_to(ROOT).as_posix() for p in sorted((ROOT / "docs").rglob("*.md"))]
    pages = [p for p in pages if not p.startswith("docs/generate/")]
    found: list[str] = []
    while pages:
        page = pages.pop()
        for target in sorted(links((ROOT / page).read_text(encoding="utf-8"))):
            path = resolved(target, page)
            if path is None or path.startswith("docs/") or path in found or not (ROOT / path).is_file():
                continue
            if PurePosixPath(path).suffix in SHOWN:
                found.append(path)
                pages += [path] if path.endswith(".md") else []
    return found


def rewritten(text: str, uri: str) -> str:
    """A page with its links as the site needs them."""
    page = in_repository(uri)

    def replace(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        path = None if ":" in target or target.startswith("#") else resolved(target, page)
        if path is None or (path.startswith("docs/") and page.startswith("docs/")):
            return match[0]
        if path.startswith("docs/") or PurePosixPath(path).suffix in SHOWN:
            return f"{label}({os.path.relpath(in_site(path), posixpath.dirname(uri) or '.')}{anchor})"
        return f"{label[1:-1]} (`{path}`)" if f"`{path}`" not in label else label[1:-1]

    return LINK.sub(replace, text)


def door(package: str) -> dict[str, list[str]]:
    """The public names of a package, by the part of it that they come from: full paths, in the door's order."""
    folder = ROOT / FOLDERS.get(package, package)
    stub = folder / "__init__.pyi"
    file = stub if stub.exists() else folder / "__init__.py"
    parts: dict[str, list[str]] = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            for alias in node.names:
                part = (node.module or alias.name).split(".")[0]
                module = f"{package}.{node.module}" if node.module else package
                parts.setdefault(part, []).append(f"{module}.{alias.name}")
    return parts


def borrowed(path: str) -> str | None:
    """The package of ours that a module has a public name from; None where the name is the module's own."""
    module, _, name = path.rpartition(".")
    package, _, rest = module.partition(".")
    file = ROOT / FOLDERS.get(package, package) / (rest.replace(".", "/") + ".py")
    if not file.is_file():
        return None
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and not node.level and any(a.name == name for a in node.names):
            return (node.module or "").split(".")[0]
    return None


def reference(package: str) -> str:
    """The blocks of mkdocstrings for a package, under a heading for each of its parts."""
    lines: list[str] = []
    for part, names in door(package).items():
        lines.append(f"## {part}\n")
        for name in names:
            other, short = borrowed(name), name.rpartition(".")[2]
            lines.append(f"`{short}` is that of [{other}]({other}.md).\n" if other else f"::: {name}\n")
    return "\n".join(lines)


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for path in linked_files():
        files.append(File.generated(config, in_site(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    expanded = PACKAGE.sub(lambda match: reference(match[1]), markdown)
    return rewritten(expanded, page.file.src_uri)
