"""Options of XLA."""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp
import pytest

from unet_jax import compilation_cache, compiler_options, compiling
from unet_jax.compiling import Compiling


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the option is for CPUs")
def test_no_slow_convolutions_are_compiled():
    """Without the option, XLA would choose YNNPACK for this program. Fails if XLA renames the option."""
    x, w = jnp.ones((1, 40, 40, 8), jnp.float32), jnp.ones((3, 3, 8, 8), jnp.float32)

    def conv(x, w):
        return jax.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    assert "ynn" not in jax.jit(conv, compiler_options=compiler_options()).lower(x, w).compile().as_text()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the option is for CPUs")
@pytest.mark.parametrize("wanted", [True, False])
def test_long_vectors_are_asked_for_where_they_are_wanted(wanted, tmp_path):
    options = {**compiler_options(long_vectors=wanted), "xla_dump_to": str(tmp_path)}
    jax.jit(lambda x: jnp.exp(x) + 1, compiler_options=options).lower(jnp.ones((64, 64))).compile()
    code = [file.read_text() for file in tmp_path.glob("*with-opt.ll")]
    assert code
    assert any('"prefer-vector-width"="512"' in each for each in code) == wanted


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the options are for CPUs")
def test_an_option_that_xla_does_not_know_is_left_out_alone(monkeypatch):
    known = compiler_options(long_vectors=True)
    assert len(known) == 2
    monkeypatch.setattr(compiling, "_VECTORS", {"xla_cpu_no_such_option": "1"})
    assert compiler_options.__wrapped__(long_vectors=True) == compiler_options()


@pytest.fixture
def fresh_cache(tmp_path):
    """Programs are cached on disk only, also small ones."""
    jax.clear_caches()
    with compilation_cache(tmp_path / "programs"):
        yield tmp_path / "programs"
    jax.clear_caches()


def compiled(number):
    """Compiles a separate program for each number, and returns the reports."""
    found = []
    compiling = Compiling("a sum", 3, found.append)
    assert jax.jit(lambda x: x + number).lower(jnp.ones(7)).compile()(jnp.ones(7))[0] == number + 1
    compiling.end()
    compiling.end()
    assert found[0] == {"step": 3, "compiling": "a sum"}
    assert set(found[1]) == {"step", "compiled", "kept"}
    assert len(found) == 2
    return found[1]["kept"]


def test_a_second_process_would_take_programs_from_the_folder(fresh_cache):
    assert not compiled(0.25)
    jax.clear_caches()
    assert compiled(0.25)
    assert not compiled(0.125)
    assert list(fresh_cache.glob("*-cache"))


def test_the_cache_that_was_is_back_afterwards(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    for folder in (tmp_path, None):
        with compilation_cache(folder):
            assert jax.config.jax_compilation_cache_dir == (folder and str(folder))
        assert jax.config.jax_compilation_cache_dir == before


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="of POSIX")
def test_a_folder_that_others_may_fill_is_not_used(tmp_path):
    tmp_path.chmod(0o777)
    (tmp_path / "file").write_text("")
    for folder, why in (tmp_path, "all users may write"), (tmp_path / "file" / "x", "Not a directory"):
        with pytest.warns(UserWarning, match=f"not cached in .*{why}"), compilation_cache(folder):
            assert jax.config.jax_compilation_cache_dir is None


def test_the_oldest_programs_go_where_there_are_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "LARGEST_CACHE", 25)
    for age in (3, 1, 2):
        (tmp_path / f"{age}-cache").write_bytes(bytes(10))
        os.utime(tmp_path / f"{age}-cache", (1000 - age, 1000 - age))
    (tmp_path / "other").write_bytes(bytes(99))
    with compilation_cache(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["1-cache", "2-cache", "other"]
