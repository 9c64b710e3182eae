"""The table of meshes."""

from benchmarks.scaling import MESHES


def test_the_table_names_what_it_says():
    assert all(count % space == 0 for count, space, _ in MESHES.values())
