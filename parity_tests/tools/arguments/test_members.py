"""The paths of an ensemble's members; the refusals are in commands/test_ensemble.py."""

from unet_tools.arguments.members import fold_folders


def test_folds_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("fold-10", "fold-9", "fold-x", "other", "fold-1-2"):
        (tmp_path / name).mkdir()
    assert [path.name for path in fold_folders(tmp_path)] == ["fold-9", "fold-10"]
    assert fold_folders(tmp_path / "nowhere") == []
