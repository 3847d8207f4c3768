"""The FLUX generator and its control branch, on tiny random models in real folder layouts."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import scene

from gsc_ros.profiles import ProfileError, load_profile

pytestmark = pytest.mark.usefixtures("paper_packages")


def branch_of(folder: Path, *, spread: float = 0.0, latent_channels: int = 320):
    """A control branch for the pipeline in ``folder``; ``spread`` moves what training would have moved."""
    from diffusers import FluxTransformer2DModel

    from gsc_ros.generators.flux_control import LatentControl

    transformer = FluxTransformer2DModel.from_pretrained(folder / "transformer")
    branch = LatentControl.copy_of(transformer, latent_channels=latent_channels)
    torch.manual_seed(5)
    with torch.no_grad():
        for layer in (branch.controlnet_x_embedder, *branch.controlnet_blocks, *branch.controlnet_single_blocks):
            layer.weight.add_(spread * torch.randn_like(layer.weight))
    return transformer, branch


@pytest.fixture(scope="module")
def profile_path(calibrated, tiny_flux, tmp_path_factory) -> Path:
    """A complete profile ``paper``: calibrated latents, FLUX and a control branch that does something."""
    folder = tmp_path_factory.mktemp("profile")
    shutil.copytree(calibrated, folder, dirs_exist_ok=True)
    branch_of(tiny_flux, spread=0.05)[1].save_pretrained(folder / "control")
    content = yaml.safe_load((folder / "profile.yaml").read_text())
    content["flux"] = {"base": str(tiny_flux), "control": "control", "dtype": "float32", "max_text_tokens": 16}
    content["defaults"]["steps"] = 2
    (folder / "profile.yaml").write_text(yaml.safe_dump(content))
    return folder / "profile.yaml"


def with_flux(path: Path, tmp_path: Path, **changes) -> Path:
    """The profile beside ``path`` with other settings of flux."""
    content = yaml.safe_load(path.read_text())
    content["weights"] = str(path.parent)
    content["flux"] |= {"control": str(path.parent / "control")} | changes
    other = tmp_path / "profile.yaml"
    other.write_text(yaml.safe_dump(content))
    return other


@pytest.fixture(scope="module")
def both(profile_path):
    from gsc_ros.decoder import Decoder
    from gsc_ros.encoder import Encoder

    return Encoder.load(profile_path), Decoder.load(profile_path)


def request_of(decoder, encoder, image, *, channels=4, caption="a rock on the road", steps=2, seed=0):
    from gsc_ros.encoder import EncodeSettings
    from gsc_ros.generators import Request
    from gsc_ros.latents.geometry import Geometry

    settings = EncodeSettings(channels=channels, caption_mode="fixed", caption=caption)
    message = decoder.read(encoder.for_another_camera().encode(image, settings).frame)
    return Request(
        symbols=message.symbols, level=message.frame.level, geometry=Geometry(*image.shape[:2], message.frame.scale),
        caption=message.caption, steps=steps, realism=1.0, seed=seed,
    )  # fmt: skip


def test_without_a_latent_it_is_the_stock_pipeline_bit_for_bit(both, tiny_flux) -> None:
    from diffusers import FluxPipeline

    generator = both[1].generator
    pipeline = FluxPipeline.from_pretrained(tiny_flux)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        "a rock on the road", height=64, width=96, num_inference_steps=3, guidance_scale=3.5, max_sequence_length=16,
        generator=[torch.Generator().manual_seed(7)], output_type="latent",
    ).images  # fmt: skip
    with torch.inference_mode():
        tokens, pooled = generator.embed("a rock on the road")
        ours = generator.denoise(tokens, pooled, None, (64, 96), 3, [torch.Generator().manual_seed(7)])
    assert torch.equal(ours, theirs)


def inputs_of(positions: int) -> dict[str, torch.Tensor]:
    """What the tiny transformer is given beside the control branch's residuals."""
    return {
        "hidden_states": torch.randn(1, positions, 16), "timestep": torch.tensor([0.5]), "guidance": torch.tensor([3.5]),
        "pooled_projections": torch.randn(1, 32), "encoder_hidden_states": torch.randn(1, 16, 32),
        "txt_ids": torch.zeros(16, 3), "img_ids": torch.zeros(positions, 3),
    }  # fmt: skip


def test_a_branch_before_training_changes_nothing(both, tiny_flux) -> None:
    from gsc_ros.generators.flux_control import condition_of

    transformer, branch = branch_of(tiny_flux)
    inputs = inputs_of(24)
    condition = condition_of(torch.randn(1, 320, 4, 6), torch.ones(1, 320))
    with torch.inference_mode():
        guided = transformer(**inputs, **branch.guide(transformer, condition, inputs), return_dict=False)[0]
        assert torch.equal(guided, transformer(**inputs, return_dict=False)[0])


def test_residuals_reach_the_first_blocks_and_no_other(tiny_flux) -> None:
    from gsc_ros.generators.flux_control import condition_of

    transformer, branch = branch_of(tiny_flux, spread=0.1)
    inputs = inputs_of(6)
    condition = condition_of(torch.randn(1, 320, 2, 3), torch.ones(1, 320))
    with torch.inference_mode():
        residuals = branch.guide(transformer, condition, inputs)
    multi, single = residuals["controlnet_block_samples"], residuals["controlnet_single_block_samples"]
    assert [bool(r.any()) for r in multi] == [True] * 4 + [False]
    assert [bool(r.any()) for r in single] == [True] * 2 + [False]


def test_the_branch_starts_as_a_copy_and_survives_saving(tiny_flux, tmp_path) -> None:
    from gsc_ros.generators.flux_control import LatentControl

    transformer, branch = branch_of(tiny_flux, spread=0.1)
    for name in (
        "transformer_blocks.3.attn.to_q.weight",
        "single_transformer_blocks.1.proj_out.weight",
        "x_embedder.bias",
    ):
        assert torch.equal(branch.state_dict()[name], transformer.state_dict()[name])
    branch.save_pretrained(tmp_path)
    again = LatentControl.from_pretrained(tmp_path)
    assert again.config.latent_channels == 320
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in branch.state_dict().items())


@pytest.mark.parametrize(("height", "width"), [(64, 64), (70, 101)])
def test_frames_of_any_size_come_back_in_their_size(both, height, width) -> None:
    from gsc_ros.encoder import EncodeSettings

    encoder, decoder = both
    packet = encoder.for_another_camera().encode(scene(3, height, width), EncodeSettings(max_bytes=300)).packet
    result = decoder.for_another_camera().decode(packet)
    assert result.image.shape == (height, width, 3)
    assert result.confidence.shape == (height, width)
    assert result.message.frame.channel_count == 320


def test_caption_latent_and_seed_all_count(both) -> None:
    encoder, decoder = both
    image, other = scene(1, 64, 64), scene(2, 64, 64)
    base = request_of(decoder, encoder, image)
    pictures = {
        "base": base,
        "text": request_of(decoder, encoder, image, caption="the sky"),
        "latent": dataclasses.replace(base, symbols=request_of(decoder, encoder, other).symbols),
        "neither": dataclasses.replace(base, symbols={}, caption=""),
        "seed": dataclasses.replace(base, seed=1),
    }
    shown = {name: decoder.generator.generate_batch([request])[0].image for name, request in pictures.items()}
    assert np.array_equal(shown["base"], decoder.generator.generate_batch([base])[0].image)
    assert all(not np.array_equal(shown["base"], shown[name]) for name in pictures if name != "base")


def test_no_channel_at_all_is_what_text_alone_gives(both, profile_path, tmp_path) -> None:
    from gsc_ros.decoder import Decoder

    encoder, decoder = both
    nothing = dataclasses.replace(request_of(decoder, encoder, scene(1, 64, 64)), symbols={})
    text_alone = Decoder.load(with_flux(profile_path, tmp_path, control=""))
    assert np.array_equal(
        decoder.generator.generate_batch([nothing])[0].image, text_alone.generator.generate_batch([nothing])[0].image
    )
    assert not decoder.generator.confidence(nothing, decoder.generator.generate_batch([nothing])[0]).any()


def test_a_batch_of_cameras_gives_what_each_alone_gives(both) -> None:
    encoder, decoder = both
    requests = [request_of(decoder, encoder, scene(seed, 64, 64), seed=seed) for seed in (1, 2, 3)]
    together = decoder.generator.generate_batch(requests)
    for request, painted in zip(requests, together, strict=True):
        alone = decoder.generator.generate_batch([request])[0].image.astype(int)
        assert np.abs(alone - painted.image.astype(int)).max() <= 1  # sums in another order


def test_a_caption_that_repeats_is_embedded_once(both, monkeypatch) -> None:
    encoder, decoder = both
    pipeline, asked = decoder.generator.pipeline, []
    encode = pipeline.encode_prompt
    monkeypatch.setattr(pipeline, "encode_prompt", lambda **kw: asked.append(kw["prompt"]) or encode(**kw))
    for seed in range(3):
        request = request_of(decoder, encoder, scene(1, 64, 64), caption="a tree in the sky", seed=seed)
        decoder.generator.generate_batch([request])
    assert asked == ["a tree in the sky"]


def test_confidence_is_high_for_the_scene_itself_and_low_for_another(both) -> None:
    from gsc_ros.generators import Painted

    encoder, decoder = both
    image = scene(1, 96, 128)
    request = request_of(decoder, encoder, image)
    own = decoder.generator.confidence(request, Painted(image))
    other = decoder.generator.confidence(request, Painted(scene(9, 96, 128)))
    assert own.mean() > 0.9 * 255
    assert other.mean() < 0.7 * own.mean()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"realism": 0.5}, "no picture but the sampled one"), ({"steps": 0}, "1 to 100"), ({"steps": 101}, "1 to 100")],
)
def test_settings_it_does_not_have_are_refused(both, changes, said) -> None:
    encoder, decoder = both
    request = dataclasses.replace(request_of(decoder, encoder, scene(1, 64, 64)), **changes)
    with pytest.raises(ValueError, match=said):
        decoder.generator.generate_batch([request])


def _truncate(folder: Path) -> None:
    path = next((folder / "transformer").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-100])


def _lose_a_part(folder: Path) -> None:
    shutil.rmtree(folder / "vae")


def _lose_a_shard(folder: Path) -> None:
    path = next((folder / "text_encoder_2").glob("*.safetensors"))
    index = {"metadata": {}, "weight_map": {"a": path.name, "b": "model-00002-of-00002.safetensors"}}
    (folder / "text_encoder_2" / "model.safetensors.index.json").write_text(json.dumps(index))


def _other_pipeline(folder: Path) -> None:
    content = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(content | {"_class_name": "StableDiffusionPipeline"}))


def _other_model(folder: Path) -> None:
    content = json.loads((folder / "transformer" / "config.json").read_text())
    (folder / "transformer" / "config.json").write_text(json.dumps(content | {"_class_name": "SD3Transformer2DModel"}))


def _adapter(folder: Path) -> None:
    (folder / "pytorch_lora_weights.safetensors").write_bytes(b"x")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (shutil.rmtree, "no folder"),
        (_truncate, "only half there"),
        (_lose_a_part, "no folder .*vae"),
        (_lose_a_shard, "00002.* is missing"),
        (_other_pipeline, "holds a StableDiffusionPipeline: a FluxPipeline is needed"),
        (_other_model, "holds SD3Transformer2DModel"),
        (_adapter, "LoRA adapter"),
    ],
)
def test_weights_that_are_not_whole_are_refused_before_they_are_loaded(
    profile_path, tiny_flux, tmp_path, monkeypatch, damage, said
) -> None:
    from diffusers import FluxPipeline

    from gsc_ros.decoder import Decoder

    monkeypatch.setattr(FluxPipeline, "from_pretrained", lambda *a, **k: pytest.fail("loading began"))
    folder = tmp_path / "flux"
    shutil.copytree(tiny_flux, folder)
    damage(folder)
    with pytest.raises(ProfileError, match=said) as caught:
        Decoder.load(with_flux(profile_path, tmp_path, base=str(folder)))
    assert "\n" not in str(caught.value)
    assert "docs/paper.md" in str(caught.value) or "LoRA" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "device", "said"),
    [
        ({}, "cuda", "sees no GPU"),
        ({"memory": "offload"}, "cpu", "needs a GPU"),
        ({"memory": "half"}, "cpu", "full, offload, nf4, fp8"),
        ({"dtype": "int8"}, "cpu", "float32, bfloat16"),
        ({"stepps": 3}, "cpu", "stepps not known"),
        ({"control": "elsewhere"}, "cpu", "gsc train control makes it"),
    ],
)
def test_a_profile_that_cannot_work_is_refused_in_one_line(profile_path, tmp_path, changes, device, said) -> None:
    from gsc_ros.generators import load_generator

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ProfileError, match=said) as caught:
        load_generator(load_profile(with_flux(profile_path, tmp_path, **changes)), None, device=device)
    assert "\n" not in str(caught.value)


def test_weights_that_memory_cannot_hold_are_refused(monkeypatch) -> None:
    from gsc_ros.generators.flux import check_memory

    with pytest.raises(ProfileError, match="offload, nf4 or fp8"):
        check_memory(1 << 50, "cpu")
    check_memory(1 << 20, "cpu")


def test_a_branch_for_other_latents_is_refused(profile_path, tiny_flux, tmp_path) -> None:
    from gsc_ros.decoder import Decoder

    branch_of(tiny_flux, latent_channels=192)[1].save_pretrained(tmp_path / "narrow")
    with pytest.raises(ProfileError, match="192 channels, the latents have 320"):
        Decoder.load(with_flux(profile_path, tmp_path, control=str(tmp_path / "narrow")))


def test_schnell_has_no_guidance(tmp_path, profile_path) -> None:
    import tiny

    from gsc_ros.decoder import Decoder
    from gsc_ros.encoder import Encoder

    base = tiny.save_flux(tmp_path / "schnell", guidance=False)
    branch_of(base, spread=0.05)[1].save_pretrained(tmp_path / "control")
    path = with_flux(profile_path, tmp_path, base=str(base), control=str(tmp_path / "control"))
    packet = Encoder.load(path).encode(scene(1, 64, 64)).packet
    assert Decoder.load(path).decode(packet).image.shape == (64, 64, 3)


def test_a_transformer_in_fp8_paints_nearly_the_same(both, profile_path, tmp_path) -> None:
    pytest.importorskip("torchao")
    from torchao.quantization import Float8Tensor

    from gsc_ros.decoder import Decoder

    encoder, decoder = both
    smaller = Decoder.load(with_flux(profile_path, tmp_path, memory="fp8"))
    weights = dict(smaller.generator.pipeline.transformer.named_parameters())
    assert isinstance(weights["transformer_blocks.0.attn.to_q.weight"], Float8Tensor)
    request = request_of(decoder, encoder, scene(1, 64, 64))
    exact, near = (
        generator.generate_batch([request])[0].image.astype(int) for generator in (decoder.generator, smaller.generator)
    )
    assert 0 < np.abs(exact - near).mean() < 3.0


def test_bfloat16_paints_nearly_what_float32_paints(both, profile_path, tmp_path) -> None:
    from gsc_ros.decoder import Decoder

    encoder, decoder = both
    rough = Decoder.load(with_flux(profile_path, tmp_path, dtype="bfloat16"))
    kinds = {parameter.dtype for parameter in rough.generator.pipeline.transformer.parameters()}
    assert kinds == {torch.bfloat16} == {parameter.dtype for parameter in rough.generator.control.parameters()}
    request = request_of(decoder, encoder, scene(1, 64, 64))
    exact, near = (
        generator.generate_batch([request])[0].image.astype(int) for generator in (decoder.generator, rough.generator)
    )
    assert 0 < np.abs(exact - near).mean() < 3.0


def test_offloaded_models_paint_the_same(both, profile_path, tmp_path, monkeypatch) -> None:
    """The way of `offload`, with the CPU in the place of the GPU: models come to the device and leave it again."""
    from gsc_ros.decoder import Decoder
    from gsc_ros.generators import flux

    encoder, decoder = both
    real = flux.check
    monkeypatch.setattr(
        flux, "check", lambda settings, *rest: real(dataclasses.replace(settings, memory="full"), *rest)
    )
    offloaded = Decoder.load(with_flux(profile_path, tmp_path, memory="offload"))
    pipeline = offloaded.generator.pipeline
    used = []
    for name in ("text_encoder", "text_encoder_2", "transformer", "vae"):
        hook = getattr(pipeline, name)._hf_hook
        before = hook.pre_forward
        monkeypatch.setattr(hook, "pre_forward", lambda *a, n=name, b=before, **kw: used.append(n) or b(*a, **kw))
    requests = [request_of(decoder, encoder, scene(seed, 64, 64), seed=seed) for seed in (1, 2)]
    for request in requests:
        expected = decoder.generator.generate_batch([request])[0].image
        assert np.array_equal(offloaded.generator.generate_batch([request])[0].image, expected)
    assert used[:2] == ["text_encoder", "text_encoder_2"]
    assert set(used) == {"text_encoder", "text_encoder_2", "transformer", "vae"}


def test_a_frame_at_twice_its_size_is_refused_where_the_latents_see_every_pixel(both) -> None:
    from gsc_ros.bitstream import BitstreamError
    from gsc_ros.encoder import EncodeSettings
    from gsc_ros.frame import OWN_SIZE

    encoder, decoder = both
    frame = encoder.for_another_camera().encode(scene(1, 64, 64), EncodeSettings(max_bytes=300)).frame
    assert frame.scale >= OWN_SIZE  # and no frame is coded so
    with pytest.raises(BitstreamError, match="scale 0: 4 is the least of this profile"):
        decoder.for_another_camera().read(dataclasses.replace(frame, scale=0))


def test_a_large_frame_is_painted_smaller_and_keeps_its_size(both, photograph) -> None:
    from dataclasses import replace

    encoder, decoder = both
    image = np.ascontiguousarray(photograph[:96, :128])
    request = request_of(decoder, encoder, image, channels=8)
    shapes = []
    whole = decoder.generator.decode

    def decode(packed, height, width):
        shapes.append((height, width))
        return whole(packed, height, width)

    decoder.generator.decode = decode
    try:
        pictures = [
            decoder.generator.generate_batch([replace(request, max_pixels=most)])[0]
            for most in (96 * 128, 96 * 128 // 4)
        ]
    finally:
        del decoder.generator.decode
    assert shapes == [(96, 128), (48, 64)]
    assert all(picture.image.shape == image.shape for picture in pictures)
    assert decoder.generator.confidence(request, pictures[1]).shape == image.shape[:2]
