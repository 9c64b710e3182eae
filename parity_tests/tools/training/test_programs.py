"""The folder of compiled programs."""

import jax
import pytest

from unet_tools.training.programs import cached_programs


@pytest.fixture(params=[False, True])
def own(request, tmp_path, monkeypatch):
    """The user's folder, if any."""
    monkeypatch.setenv("UNET_CACHE", str(tmp_path / "cache"))
    before = jax.config.jax_compilation_cache_dir
    folder = str(tmp_path / "own") if request.param else None
    jax.config.update("jax_compilation_cache_dir", folder)
    yield folder
    jax.config.update("jax_compilation_cache_dir", before)


def test_programs_are_kept_where_the_flag_the_user_or_the_cache_says(own, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for flag, folder in (None, own or str(tmp_path / "cache" / "xla")), ("a", str(tmp_path / "a")), ("none", None):
        with cached_programs(flag):
            assert jax.config.jax_compilation_cache_dir == folder
        printed = capsys.readouterr().err.replace("\n", "")
        assert (
            f"are cached in {folder} (--compilation-cache none: no cache)" if folder else "are not cached"
        ) in printed
    assert jax.config.jax_compilation_cache_dir == own
    with cached_programs(None, quiet=True):
        assert not capsys.readouterr().err
