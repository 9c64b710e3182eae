"""The network that a command names."""

import pytest

from unet_spec import Checkpoint, InputError, preset, random_tensors
from unet_tools.arguments.networks import choose_config, network_name

CONFIG = preset("same", widths=(2, 3), in_channels=2)


def test_a_preset_a_config_file_and_a_checkpoint_name_a_network(tmp_path):
    assert choose_config(None) == preset("paper")
    assert choose_config("unet++", widths=(4, 6)) == preset("unet++", widths=(4, 6))
    Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0)).save(tmp_path / "ck")
    assert choose_config(None, tmp_path / "ck") == CONFIG
    assert choose_config(None, tmp_path / "ck" / "config.json", out_channels=5) == CONFIG.replace(out_channels=5)


def test_what_names_no_network_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match=r"give either a checkpoint \(x\) or --preset same, not both"):
        choose_config("same", type(tmp_path)("x"))
    with pytest.raises(InputError, match=r"a\.json: not valid JSON"):
        choose_config(None, tmp_path / "a.json")
    with pytest.raises(InputError, match=r"cannot read .*b\.json"):
        choose_config(None, tmp_path / "b.json")


def test_titles_say_u_net_or_the_architecture():
    assert network_name(CONFIG) == "U-Net"
    assert network_name(preset("unet++")) == preset("unet++").architecture
