"""Names of classes."""

from __future__ import annotations

import pytest

from videomae_cli.inference.labels import PUBLISHED_LISTS, name_classes, read_published_list


@pytest.mark.parametrize(
    ("name", "length", "first", "last"),
    [
        ("kinetics400", 400, "abseiling", "zumba"),
        ("something_something_v2", 174, "Approaching something with your camera", "Wiping something off of something"),
        ("ucf101", 101, "ApplyEyeMakeup", "YoYo"),
        ("hmdb51", 51, "brush_hair", "wave"),
    ],
)
def test_published_lists(name: str, length: int, first: str, last: str) -> None:
    labels = read_published_list(name)
    assert (len(labels), len(set(labels))) == (length, length)
    assert (labels[0], labels[-1]) == (first, last)
    assert PUBLISHED_LISTS[length] == name


def test_kinetics_names_are_in_the_order_of_the_published_checkpoints() -> None:
    labels = read_published_list("kinetics400")
    assert list(labels) == sorted(labels)
    assert (labels[6], labels[116]) == ("arm wrestling", "eating spaghetti")


def test_the_checkpoint_s_own_names_win() -> None:
    assert name_classes({0: "cat", 1: "dog"}, 2) == (("cat", "dog"), None)
    assert name_classes({0: "LABEL_0", 1: "dog"}, 2) == (("LABEL_0", "dog"), None)


def test_placeholders_are_replaced_by_a_published_list_of_that_length() -> None:
    labels, warning = name_classes({k: f"LABEL_{k}" for k in range(400)}, 400)
    assert labels == read_published_list("kinetics400")
    assert warning is not None
    assert "kinetics400" in warning


def test_placeholders_stay_when_no_list_fits() -> None:
    labels, warning = name_classes({}, 3)
    assert labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert warning is not None
