"""Settings: what is refused, what is read back, what a network's classes mean."""

import pytest

from unet_data import ObjectSettings
from unet_data.objects.settings import is_for_objects, settings_for
from unet_spec import DataSpec, InputError, preset

TWO, THREE = preset("same"), preset("same", out_channels=3)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "magic"},
        {"neck": 1.1},
        {"core": float("nan")},
        {"foreground": -0.1},
        {"minimum_size": 0},
        {"maximum_size": 3, "minimum_size": 4},
        {"reach": 0},
        {"smoothing": 5},
        {"grow": 1.5},
        {"border": 0},
        {"spacing": (0, 1)},
        {"fill_holes": True},
        {"distance": 1},
    ],
)
def test_what_is_out_of_range_is_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        ObjectSettings(**change)


def test_every_value_comes_back_from_json_and_from_a_data_spec():
    settings = ObjectSettings("probability", 0.1, 0.2, 0.3, 1, 4, 2, 5, 600, 7, 2, (3, 1))
    assert "distance" not in settings.to_dict(), "older versions do not know it"
    assert ObjectSettings.from_dict(settings.to_dict(), "x") == settings
    spec = DataSpec(objects=settings.to_dict())
    assert settings_for(DataSpec.from_dict(spec.to_dict(), "x"), THREE) == settings
    assert "objects" not in DataSpec().to_dict()
    with pytest.raises(InputError, match=r"x: data\.objects"):
        DataSpec.from_dict({"objects": 3}, "x")
    with pytest.raises(InputError, match="keys among"):
        ObjectSettings.from_dict({"nose": 1}, "x")


def test_changes_as_text():
    base = ObjectSettings(maximum_size=9)
    got = ObjectSettings.parsed(["neck=0.5", "maximum_size=none", "method=probability", "spacing=2,1"], base)
    assert got == ObjectSettings("probability", neck=0.5, spacing=(2, 1))
    for text in ("neck", "nose=1", "neck=", "neck=x", "minimum_size=1.5"):
        with pytest.raises(InputError, match="object setting"):
            ObjectSettings.parsed([text], base)


def test_defaults_follow_the_classes():
    assert settings_for(DataSpec(class_names=("background", "cell")), TWO) == ObjectSettings()
    assert settings_for(DataSpec(class_names=("background", "cell", "Border")), THREE).border == 2
    assert settings_for(DataSpec(class_names=("border", "cell", "x")), THREE).border is None
    assert settings_for(DataSpec(objects={"neck": 0.1}), TWO, ObjectSettings(neck=0.2)).neck == 0.2
    for data, config, message in (
        (DataSpec(overlapping=True), TWO, "overlap"),
        (DataSpec(objects={"border": 2}), TWO, "border"),
        (DataSpec(objects={"border": 3}), THREE, "border"),
        (DataSpec(objects={"spacing": [1, 1, 1]}), THREE, "axes"),
    ):
        with pytest.raises(InputError, match=message):
            settings_for(data, config)


def test_a_predicted_distance_follows_from_the_network():
    two, three = TWO.replace(distance_head=True), THREE.replace(distance_head=True)
    own = settings_for(DataSpec(), two)
    assert (own.method, own.distance) == ("predicted", 2)
    assert settings_for(DataSpec(), three, ObjectSettings("distance", distance=2)).distance == 3
    bordered = settings_for(DataSpec(class_names=("background", "cell", "border")), three)
    assert (bordered.method, bordered.border, bordered.distance) == ("predicted", 2, 3)
    assert settings_for(DataSpec(objects=own.to_dict()), two) == own
    assert settings_for(DataSpec(), TWO, ObjectSettings(distance=2)).distance is None
    with pytest.raises(InputError, match="needs a network that predicts distances"):
        settings_for(DataSpec(), TWO, ObjectSettings("predicted"))


def test_the_description_names_what_is_not_nothing():
    assert ObjectSettings(neck=0.6, grow=2).described() == (
        "method distance, foreground 0.5, core 0.5, neck 0.6, grow 2, reach 48"
    )
    assert "minimum_size 3" in ObjectSettings(minimum_size=3).described()


def test_the_number_of_axes_of_a_spacing():
    with pytest.raises(InputError, match="2 axes"):
        ObjectSettings(spacing=(5, 1, 1)).steps(2)
    assert ObjectSettings(spacing=(5, 1, 1), reach=48).halo(3) == (11, 49, 49)


def test_which_networks_are_for_objects():
    plain, stored = DataSpec(class_names=("background", "cell")), DataSpec(objects=ObjectSettings().to_dict())
    assert not is_for_objects(plain, TWO)
    assert is_for_objects(stored, TWO)
    assert is_for_objects(plain, TWO.replace(distance_head=True))
    assert is_for_objects(DataSpec(class_names=("background", "cell", "Border")), THREE)
    assert not is_for_objects(DataSpec(class_names=("border", "cell", "x")), THREE)
    overlapping = DataSpec(class_names=("a", "b"), overlapping=True, objects=ObjectSettings().to_dict())
    assert not is_for_objects(overlapping, TWO)


def test_the_defaults_are_those_of_the_docstring():
    own = ObjectSettings()
    assert (own.method, own.foreground, own.core, own.neck) == ("distance", 0.5, 0.5, 0.75)
    assert (own.smoothing, own.fill_holes, own.grow, own.minimum_size, own.reach) == (0, 0, 0, 1, 48)
    assert (own.maximum_size, own.border, own.distance, own.spacing) == (None, None, None, ())
    bordered = settings_for(DataSpec(class_names=("background", "cell", "border")), THREE)
    assert (bordered.method, bordered.grow, bordered.neck, bordered.smoothing) == ("probability", 2, 0.75, 0)
    predicted = settings_for(DataSpec(), TWO.replace(distance_head=True))
    assert (predicted.neck, predicted.smoothing, predicted.grow) == (0.9, 2, 0)


@pytest.mark.parametrize(
    "values",
    [{"neck": 0}, {"neck": 1}, {"smoothing": 4}, {"reach": 1}, {"reach": 16384}, {"minimum_size": 3, "maximum_size": 3},
     {"border": 1}, {"distance": 2}, {"spacing": (1, 1)}],
)  # fmt: skip
def test_limits_are_allowed(values):
    ObjectSettings(**values)
    assert ObjectSettings.from_dict(values, "x") == ObjectSettings(**values)


def test_reach_has_a_limit():
    with pytest.raises(InputError, match="smoothing is 0, reach 16385; at most 4 and 16384"):
        ObjectSettings(reach=16385)


@pytest.mark.parametrize(
    ("values", "halo"),
    [({"reach": 7}, (8, 8)), ({"reach": 7, "smoothing": 2}, (10, 10)), ({"reach": 7, "fill_holes": 3}, (12, 12)),
     ({"method": "probability", "grow": 5}, (6, 6)), ({"reach": 7, "spacing": (3, 1)}, (4, 8)),
     ({"reach": 2, "grow": 9}, (10, 10))],
)  # fmt: skip
def test_the_halo_of_a_window(values, halo):
    assert ObjectSettings(**values).halo(2) == halo
