"""The search for better symbols: nearer the image, never more bytes, decoded like any others."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from conftest import scene

from gsc_ros.decoder import DecodeSettings
from gsc_ros.encoder import EncodeError, EncodeSettings
from gsc_ros.latents import objective
from gsc_ros.latents.search import rounded

PLAIN = EncodeSettings(caption_mode="off", max_bytes=150)


def test_a_search_finds_nearer_pictures_within_the_same_bytes(encoder, decoder, photograph) -> None:
    from gsc_ros.evaluation.metrics import ms_ssim

    view = cv2.resize(photograph, (320, 240), interpolation=cv2.INTER_AREA)
    likeness = {}
    for search in (0, 60):
        encoded = encoder.for_another_camera().encode(view, dataclasses.replace(PLAIN, search=search))
        assert len(encoded.packet) <= PLAIN.max_bytes
        picture = decoder.for_another_camera().decode(encoded.packet, DecodeSettings(realism=0.0)).image
        likeness[search] = ms_ssim(view, picture)
    assert likeness[60] > likeness[0] + 0.003


@pytest.mark.parametrize(
    ("height", "width", "wish"),
    [
        (16, 16, PLAIN),
        (61, 200, dataclasses.replace(PLAIN, max_bytes=24)),
        (120, 160, dataclasses.replace(PLAIN, max_bytes=None, level=9)),
        (120, 160, dataclasses.replace(PLAIN, max_bytes=90, selection="ssim", channels=5)),
    ],
)
def test_a_search_stays_within_what_was_allowed(encoder, decoder, height, width, wish) -> None:
    image = scene(3, height, width)
    without = encoder.for_another_camera().encode(image, wish)
    found = [encoder.for_another_camera().encode(image, dataclasses.replace(wish, search=12)) for _ in range(2)]
    assert found[0].packet == found[1].packet
    assert len(found[0].packet) <= (wish.max_bytes or len(without.packet))
    head = {"channels", "channel_ids"}
    kept = [{k: v for k, v in vars(f.frame).items() if k not in head} for f in (without, found[0])]
    assert kept[0] == kept[1] and without.frame.channel_ids == found[0].frame.channel_ids
    assert decoder.for_another_camera().decode(found[0].packet).image.shape == image.shape


def test_a_search_that_cannot_be_made_is_refused(encoder, photograph) -> None:
    with pytest.raises(EncodeError, match="search -1: 0 to 10000 steps"):
        encoder.encode(photograph, dataclasses.replace(PLAIN, search=-1))
    with pytest.raises(EncodeError, match=r"search 5: .* set memory to off"):
        encoder.encode(photograph, dataclasses.replace(PLAIN, search=5, memory="acknowledged"))


def test_latents_without_a_search_refuse_it(calibrated) -> None:
    from gsc_ros.encoder import Encoder

    with pytest.raises(EncodeError, match="search 5: the latents of this profile cannot be searched"):
        Encoder.load(calibrated / "profile.yaml").encode(scene(1, 64, 64), EncodeSettings(search=5))


def test_rounding_is_the_nearer_the_likelier_and_hardens() -> None:
    draws = torch.Generator().manual_seed(2)
    values = torch.full((4000,), 1.2)
    hot, cold = (rounded(values, temperature, draws) for temperature in (1.0, 0.03))
    assert torch.minimum((cold - 1).abs(), (cold - 2).abs()).max() < 0.05
    assert (cold < 1.5).float().mean() > 0.99 > (hot < 1.5).float().mean()
    whole = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    rounded(whole, 0.03, draws).sum().backward()
    assert whole.grad is not None and torch.isfinite(whole.grad).all()


@pytest.mark.parametrize("side", [11, 32, 64, 96])
def test_likeness_has_as_many_scales_as_the_image_allows(side) -> None:
    x = torch.from_numpy(np.ascontiguousarray(scene(5, side, side).transpose(2, 0, 1)))[None].float() / 255
    assert float(objective.ms_ssim(x, x)) == pytest.approx(1.0, abs=1e-5)
    assert 0 < float(objective.ms_ssim(x, x.flip(3))) < 0.9
