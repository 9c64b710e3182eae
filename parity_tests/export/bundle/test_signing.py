"""Signatures of bundles: covered files and refusals."""

import shutil

import pytest

pytest.importorskip("model_signing.signing", reason="pip install 'unet-twins[sign]'", exc_type=ImportError)
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from unet_export import BundleSettings, Identity, open_bundle, sign_bundle, verify_bundle, write_bundle
from unet_spec import InputError

from ..bundles import checkpoint


def keys(folder, name="key"):
    key = ec.generate_private_key(ec.SECP256R1())
    plain, pem = serialization.NoEncryption(), serialization.Encoding.PEM
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    private, public = keys(folder)
    bundle = write_bundle(checkpoint(), folder / "bundle", BundleSettings(engines=False))
    before = bundle.digest
    assert sign_bundle(bundle.folder, private).name == "model.sig"
    assert open_bundle(bundle.folder).digest == before
    return bundle.folder, private, public


@pytest.fixture
def copy(signed, tmp_path):
    """The bundle under another name and path, as for a receiver."""
    return shutil.copytree(signed[0], tmp_path / "received")


def test_a_signed_bundle_is_verified_wherever_it_lies(signed, copy):
    verify_bundle(copy, signed[2])
    open_bundle(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: (b / "model.onnx").write_bytes(b"other"), "changed: model.onnx"),
        (lambda b: (b / "manifest.json").write_text("{}"), "changed: manifest.json"),
        (lambda b: (b / "parity.json").unlink(), "missing: parity.json"),
        (lambda b: (b / "triton" / "model.sig").write_text("x"), "added: triton/model.sig"),
        (lambda b: (b / ".gitignore").write_text("x"), "added: .gitignore"),
    ],
)
def test_a_file_that_differs_is_named(signed, copy, change, words):
    change(copy)
    with pytest.raises(InputError, match=rf"received: changed after it was signed: {words}$"):
        verify_bundle(copy, signed[2])


def test_all_that_differs_is_one_line(signed, copy):
    (copy / "model.onnx").write_bytes(b"")
    (copy / "README.md").write_text("")
    (copy / "golden.npz").unlink()
    with pytest.raises(InputError, match=r"changed: README.md, model.onnx; missing: golden.npz$"):
        verify_bundle(copy, signed[2])


def test_another_key_no_signature_and_no_key(signed, copy, tmp_path):
    _, other = keys(tmp_path, "other")
    with pytest.raises(InputError, match=r"its signature is not by .*other\.pub"):
        verify_bundle(copy, other)
    with pytest.raises(InputError, match=r"no\.pub: cannot be read"):
        verify_bundle(copy, tmp_path / "no.pub")
    (copy / "model.sig").write_text("{}")
    with pytest.raises(InputError, match=r"its signature is not by"):
        verify_bundle(copy, signed[2])
    (copy / "model.sig").unlink()
    with pytest.raises(InputError, match=r"is not signed: it has no model\.sig"):
        verify_bundle(copy, signed[2])


def test_a_signature_of_another_bundle_is_none_of_this(signed, copy, tmp_path):
    other = write_bundle(checkpoint(), tmp_path / "other", BundleSettings(engines=False, licence="MIT"))
    shutil.copy(copy / "model.sig", other.folder)
    with pytest.raises(
        InputError, match=r"changed after it was signed: changed: README.md, manifest.json, sbom.cdx.json"
    ):
        verify_bundle(other.folder, signed[2])


def test_a_key_that_cannot_sign_leaves_no_signature(signed, copy, tmp_path):
    (copy / "model.sig").unlink()
    with pytest.raises(InputError, match=r"no\.pem: cannot be read"):
        sign_bundle(copy, tmp_path / "no.pem")
    with pytest.raises(InputError, match=r"received: cannot be signed with .*key\.pub"):
        sign_bundle(copy, signed[2])
    assert not (copy / "model.sig").exists()


def test_a_damaged_bundle_is_not_signed_and_a_signed_one_is_replaced(signed, copy):
    (copy / "model.onnx").write_bytes(b"other")
    with pytest.raises(InputError, match=r"model\.onnx was changed or damaged"):
        sign_bundle(copy, signed[1])
    write_bundle(checkpoint(), copy, BundleSettings(engines=False))
    assert not (copy / "model.sig").exists()


def test_an_identity_is_a_name_and_its_issuer():
    assert Identity.parsed("ada@example.org, https://issuer") == Identity("ada@example.org", "https://issuer")
    with pytest.raises(InputError, match=r"expected the key file KEY\.pub, or NAME,https://ISSUER"):
        Identity.parsed("ada@example.org,issuer")
