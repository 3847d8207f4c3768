"""Captions: what the descriptor says about pictures that anybody would describe alike."""

from __future__ import annotations

import numpy as np
import pytest

from gsc_ros.captioners import make_captioner
from gsc_ros.captioners.descriptor import colour_name


def test_the_descriptor_names_colours_where_they_are() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    image[:100] = (90, 150, 240)
    image[100:] = (40, 140, 50)
    caption = make_captioner("descriptor").caption(image)
    assert "blue above" in caption
    assert "green below" in caption


def test_equal_images_give_equal_captions(photograph) -> None:
    captioner = make_captioner("descriptor")
    assert captioner.caption(photograph) == captioner.caption(photograph.copy())


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((250, 250, 250), "white"),
        ((5, 5, 5), "black"),
        ((128, 128, 128), "grey"),
        ((250, 20, 20), "red"),
        ((20, 200, 30), "green"),
        ((120, 80, 40), "brown"),
    ],
)
def test_colour_names(rgb, name) -> None:
    assert colour_name(np.array(rgb, float)) == name


def test_fixed_and_off(photograph) -> None:
    assert make_captioner("fixed", text="rover 2").caption(photograph) == "rover 2"
    assert make_captioner("off").caption(photograph) == ""
    with pytest.raises(ValueError, match="descriptor, fixed, off, model"):
        make_captioner("poet")
