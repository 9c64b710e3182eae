"""Signs a bundle and verifies its signature, `model.sig`, according to OpenSSF's model-signing specification.

The signature is a Sigstore bundle over the names and SHA-256 of all other files. It is made with a private key or, with
network access, with the identity of an account.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_spec import InputError
from unet_spec.files import first_line, write_errors_as_input_error, writing

from .manifest import SIGNATURE, file_sha256, open_bundle

KEYLESS = "sigstore"
"""Value of `key` to sign with the identity of an account, through Sigstore's public service."""


@dataclass(frozen=True)
class Identity:
    """The account of an accepted signer, for signatures without a key.

    Attributes:
        name: Name of the account: an e-mail address, or the URL of a workflow.
        issuer: Identity provider, such as https://accounts.google.com.

    Example:
        >>> Identity.parsed("ada@example.org,https://accounts.google.com").issuer
        'https://accounts.google.com'
    """

    name: str
    issuer: str

    @classmethod
    def parsed(cls, text: str) -> Identity:
        """From "NAME,ISSUER". Raises InputError."""
        name, _, issuer = (part.strip() for part in text.partition(","))
        if not name or not issuer.startswith("https://"):
            raise InputError(f"{text!r}: expected the key file KEY.pub, or NAME,https://ISSUER of a Sigstore identity")
        return cls(name, issuer)


def sign_bundle(folder: str | os.PathLike[str], key: str | os.PathLike[str]) -> Path:
    """Signs the files of a bundle. An existing signature is replaced.

    Args:
        folder: The bundle.
        key: PEM file of a private key on the curve P-256, P-384 or P-521, without a password; or KEYLESS.

    Returns:
        The file of the signature.

    Raises:
        InputError: The bundle is damaged, the key cannot be read or has another type, Sigstore cannot be reached, or
            model-signing is not installed.

    Example:
        >>> from unet_export import sign_bundle
        >>> sign_bundle("no/bundle", "key.pem")
        Traceback (most recent call last):
        ...
        unet_spec.errors.InputError: no bundle at no/bundle: no such folder
    """
    path = open_bundle(folder).folder
    signing = _package("signing")
    config = signing.Config().set_hashing_config(_hashing())
    try:
        if os.fspath(key) == KEYLESS:
            config = config.use_sigstore_signer()
        else:
            config = config.use_elliptic_key_signer(private_key=Path(key))
        with tempfile.TemporaryDirectory() as beside:
            config.sign(path, Path(beside) / SIGNATURE)
            content = (Path(beside) / SIGNATURE).read_bytes()
    except OSError as e:
        raise InputError(f"{key}: cannot be read: {e.strerror or first_line(e)}") from None
    except Exception as e:  # the library passes on all exceptions of its parts
        hint = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem generates a key"
        raise InputError(f"{path}: cannot be signed with {key}: {first_line(e)}; {hint}") from None
    with write_errors_as_input_error(path / SIGNATURE), writing(path / SIGNATURE) as temporary:
        temporary.write_bytes(content)
    return path / SIGNATURE


def verify_bundle(folder: str | os.PathLike[str], signer: str | os.PathLike[str] | Identity) -> None:
    """Verifies the signer of a bundle, and that it contains exactly the signed files.

    Args:
        folder: The bundle.
        signer: PEM file of the public key, or the identity of a Sigstore signer.

    Raises:
        InputError: The bundle is not signed or signed with another key, files differ (the message names them), or
            model-signing is not installed.

    Example:
        >>> from unet_export import verify_bundle
        >>> verify_bundle("no/bundle", "key.pub")
        Traceback (most recent call last):
        ...
        unet_spec.errors.InputError: no/bundle is not signed: it has no model.sig
    """
    path = Path(folder)
    signature = path / SIGNATURE
    if not signature.is_file():
        raise InputError(f"{path} is not signed: it has no {SIGNATURE}")
    config = _package("verifying").Config().set_hashing_config(_hashing())
    try:
        if isinstance(signer, Identity):
            config = config.use_sigstore_verifier(identity=signer.name, oidc_issuer=signer.issuer)
        else:
            config = config.use_elliptic_key_verifier(public_key=Path(signer))
        config.verify(path, signature)
    except OSError as e:
        raise InputError(f"{signer}: cannot be read: {e.strerror or first_line(e)}") from None
    except Exception as e:  # the library passes on all exceptions of its parts
        text = first_line(e)
        if text.startswith("Signature mismatch"):
            raise InputError(f"{path}: changed after it was signed: {_differences(path)}") from None
        raise InputError(f"{path}: its signature is not by {signer}: {text}") from None


def _differences(folder: Path) -> str:
    """The files that differ from the signature, whose own content is already verified."""
    envelope = json.loads((folder / SIGNATURE).read_text(encoding="utf-8"))["dsseEnvelope"]
    resources = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["resources"]
    signed = {each["name"]: each["digest"] for each in resources}
    present = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    del present[SIGNATURE]
    changed = [n for n in sorted(set(signed) & set(present)) if file_sha256(present[n]) != signed[n]]
    groups = {
        "changed": changed,
        "missing": sorted(set(signed) - set(present)),
        "added": sorted(set(present) - set(signed)),
    }
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in groups.items() if names)


def _hashing() -> Any:
    """The hashing settings: all files, including those of git, except the signature."""
    config = _package("hashing").Config().use_file_serialization()
    return config.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _package(part: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"model_signing.{part}")
    except ModuleNotFoundError as e:
        raise InputError(f"{e.name} is not installed; pip install 'unet-twins[sign]'") from None
