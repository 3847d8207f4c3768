"""How long the full-size models take and what memory they need, with random weights: nothing is downloaded."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from gsc_ros.latents.quantised import QuantisedLatents

FLUX = {
    "flux-dev": {
        "transformer": {
            "in_channels": 64, "num_layers": 19, "num_single_layers": 38, "attention_head_dim": 128, "num_attention_heads": 24,
            "joint_attention_dim": 4096, "pooled_projection_dim": 768, "guidance_embeds": True, "axes_dims_rope": (16, 56, 56),
        },
        "vae": {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 16, "norm_num_groups": 32, "sample_size": 1024},
        "tokens": 512,
    },
    "tiny": {
        "transformer": {
            "in_channels": 64, "num_layers": 5, "num_single_layers": 3, "attention_head_dim": 16, "num_attention_heads": 2,
            "joint_attention_dim": 32, "pooled_projection_dim": 32, "guidance_embeds": True, "axes_dims_rope": (4, 6, 6),
        },
        "vae": {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "latent_channels": 16, "norm_num_groups": 4, "sample_size": 1024},
        "tokens": 16,
    },
}  # fmt: skip
QWEN = {
    "qwen2.5-vl-7b": (
        {
            "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
            "num_key_value_heads": 4, "vocab_size": 152064,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584},
    ),
    "tiny": (
        {
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "vocab_size": 152064,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
        },
        {"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32, "fullatt_block_indexes": [1]},
    ),
}  # fmt: skip
IMAGE_PAD, VISION_START = 151655, 151652
CAPTION_TOKENS = 64


@dataclass(frozen=True)
class Timing:
    """One row: what was done, seconds for each, and the most memory of the device it took in GiB (nan on a CPU)."""

    what: str
    size: str
    steps: int
    seconds: float
    peak_gib: float


@contextmanager
def built_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Modules are made on ``device`` in ``dtype`` at once: full-size ones do not fit main memory in float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def _fill(module: Any) -> Any:
    """Random weights of a size that keeps activations finite; zero-initialised layers too, so that nothing is skipped."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.02)
    return module.eval()


def transformer_of(size: str, device: str, dtype: torch.dtype) -> Any:
    """FLUX's transformer of ``size``."""
    from diffusers import FluxTransformer2DModel

    shape: dict[str, Any] = FLUX[size]
    with built_on(device, dtype):
        return _fill(FluxTransformer2DModel(**shape["transformer"]))


def vae_of(size: str, device: str, dtype: torch.dtype) -> Any:
    """FLUX's VAE of ``size``."""
    from diffusers import AutoencoderKL

    shape: dict[str, Any] = FLUX[size]
    with built_on(device, dtype):
        return _fill(
            AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, **shape["vae"],
                use_quant_conv=False, use_post_quant_conv=False, scaling_factor=0.3611, shift_factor=0.1159,
            )
        )  # fmt: skip


def branch_of(transformer: Any, device: str, dtype: torch.dtype) -> Any:
    """The control branch for ``transformer``."""
    from gsc_ros.generators.flux_control import LatentControl

    with built_on(device, dtype):
        return _fill(LatentControl.copy_of(transformer, dtype=dtype))


def pipeline_of(size: str, device: str, dtype: torch.dtype) -> Any:
    """A FluxPipeline of ``size`` without its text encoders, whose output is kept for captions that repeat."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=vae_of(size, device, dtype), transformer=transformer_of(size, device, dtype),
        text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _arrange(pipeline: Any, settings: Any, device: str, dtype: torch.dtype) -> None:
    """Put ``pipeline`` where ``settings.memory`` wants it, the quantised modes by way of a folder, as they are loaded."""
    from gsc_ros.generators.flux import place, quantisation

    if (config := quantisation(settings, dtype)) is not None:
        with tempfile.TemporaryDirectory() as folder:
            pipeline.transformer.save_pretrained(folder)
            kind = type(pipeline.transformer)
            pipeline.transformer = None
            free()
            pipeline.transformer = kind.from_pretrained(folder, dtype=dtype, quantization_config=config)
    place(pipeline, settings, device)


def _timed(work: Callable[[], Any], device: str, repeats: int, *, warm: bool = False) -> tuple[float, float]:
    """Median seconds, after one call that warms up unless that was done, and peak GiB."""
    on_gpu = device.startswith("cuda")
    if not warm:
        work()
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else float("nan")
    return sorted(times)[len(times) // 2], peak


def generate(
    size: str,
    frames: Sequence[tuple[int, int]],
    steps: Sequence[int],
    *,
    device: str,
    dtype: torch.dtype,
    compiled: bool = False,
    memory: str = "full",
    tokens: int | None = None,
    repeats: int = 1,
) -> Iterator[Timing]:
    """Seconds of a frame of each of ``frames`` (width, height): denoising with the branch, and the VAE.

    ``memory`` is one of those of :class:`gsc_ros.generators.flux.FluxSettings`, ``tokens`` the length of the text (None: the longest).
    """
    from gsc_ros.generators.flux import FluxGenerator, FluxSettings, compile_blocks, in_tiles
    from gsc_ros.generators.flux_control import LATENT_CHANNELS, condition_of

    shape: dict[str, Any] = FLUX[size]
    settings = FluxSettings(base="random", memory=memory)
    pipeline = pipeline_of(size, device, dtype)
    branch = branch_of(pipeline.transformer, device, dtype)
    _arrange(pipeline, settings, device, dtype)
    if compiled:
        compile_blocks(pipeline.transformer, branch)
    # Neither denoising nor the VAE asks for the latents: the condition is made up here.
    generator = FluxGenerator(pipeline, branch, cast(QuantisedLatents, None), settings, device=device)
    for width, height in frames:
        rows, columns = -(-height // 16), -(-width // 16)
        text = torch.randn(
            1, tokens or shape["tokens"], shape["transformer"]["joint_attention_dim"], device=device, dtype=dtype
        )
        pooled = torch.randn(1, shape["transformer"]["pooled_projection_dim"], device=device, dtype=dtype)
        sent = torch.zeros(1, LATENT_CHANNELS, device=device)
        sent[0, :4] = 1
        y = torch.randn(1, LATENT_CHANNELS, rows, columns, device=device, dtype=dtype) * sent[:, :, None, None].to(
            dtype
        )
        condition = condition_of(y, sent)

        def denoise(
            count: int, text: Tensor = text, pooled: Tensor = pooled, condition: Tensor = condition,
            grid: tuple[int, int] = (16 * rows, 16 * columns),
        ) -> Tensor:  # fmt: skip
            with torch.inference_mode():
                return generator.denoise(text, pooled, condition, grid, count, [torch.Generator().manual_seed(0)])

        denoise(1)  # warms up for every number of steps
        for count in steps:
            seconds, peak = _timed(lambda count=count: denoise(count), device, repeats, warm=True)  # type: ignore[misc]
            yield Timing("denoise", f"{width}x{height}", count, seconds, peak)
        packed = denoise(1)

        def decode(packed: Tensor = packed, grid: tuple[int, int] = (16 * rows, 16 * columns)) -> Any:
            with torch.inference_mode():
                return generator.decode(packed, *grid)

        seconds, peak = _timed(decode, device, repeats)
        tiled = " in tiles" if in_tiles(16 * rows, 16 * columns) else ""
        yield Timing(f"VAE{tiled}", f"{width}x{height}", 0, seconds, peak)
        if memory == "offload":  # the models come and go only where they take turns
            seconds, peak = _timed(lambda: decode(denoise(steps[0])), device, repeats)
            yield Timing("denoise and VAE", f"{width}x{height}", steps[0], seconds, peak)


def training_step(
    size: str, *, side: int, tokens: int, device: str, dtype: torch.dtype, checkpointing: bool
) -> Callable[[], None]:
    """One optimiser step of the branch at batch 1 without accumulation, as ``gsc train control`` takes it."""
    from gsc_ros.generators.flux_control import LATENT_CHANNELS, condition_of
    from gsc_ros.generators.rectified_flow import interpolate, matching_loss
    from gsc_ros.training.control import MOST_GRADIENT, Guided, optimizer_of

    shape: dict[str, Any] = FLUX[size]
    transformer = transformer_of(size, device, dtype).requires_grad_(False)
    branch = branch_of(transformer, device, torch.float32).train()
    if checkpointing:
        transformer.enable_gradient_checkpointing()
        branch.enable_gradient_checkpointing()
    guided = Guided(transformer, branch, guidance=1.0, side=side)
    optimizer = optimizer_of(branch)
    grid = side // 16
    text = torch.randn(1, tokens, shape["transformer"]["joint_attention_dim"], device=device, dtype=dtype)
    pooled = torch.randn(1, shape["transformer"]["pooled_projection_dim"], device=device, dtype=dtype)
    y = torch.randn(1, LATENT_CHANNELS, grid, grid, device=device, dtype=dtype)
    condition = condition_of(y, torch.ones(1, LATENT_CHANNELS, device=device))
    x = torch.randn(1, grid * grid, shape["transformer"]["in_channels"], device=device)
    noise, t = torch.randn_like(x), torch.full((1,), 0.5, device=device)

    def step() -> None:
        with torch.autocast(device.split(":")[0], dtype, enabled=dtype != torch.float32):
            loss = matching_loss(guided(interpolate(x, noise, t).to(dtype), t, text, pooled, condition), x, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(branch.parameters(), MOST_GRADIENT)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def train(
    size: str, *, side: int, tokens: int, device: str, dtype: torch.dtype, checkpointing: bool, repeats: int = 3
) -> Timing:
    """Seconds of a :func:`training_step`."""
    step = training_step(size, side=side, tokens=tokens, device=device, dtype=dtype, checkpointing=checkpointing)
    seconds, peak = _timed(step, device, repeats)
    return Timing("training step" + (", checkpointed" if checkpointing else ""), f"{side}x{side}", 1, seconds, peak)


def caption(size: str, *, width: int, height: int, device: str, dtype: torch.dtype, repeats: int = 3) -> Timing:
    """Seconds of a caption of CAPTION_TOKENS tokens of one image; ``steps`` are the tokens."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text, vision = QWEN[size]
    config = Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, image_token_id=IMAGE_PAD, vision_start_token_id=VISION_START
    )
    with built_on(device, dtype):
        model = _fill(Qwen2_5_VLForConditionalGeneration(config))
    rows, columns = 2 * round(height / 28), 2 * round(width / 28)
    pads = rows * columns // 4
    ids = torch.tensor([[1] * 8 + [VISION_START] + [IMAGE_PAD] * pads + [2] * 24], device=device)
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == IMAGE_PAD).long(),
        "pixel_values": torch.randn(rows * columns, 3 * 2 * 14 * 14, device=device, dtype=dtype),
        "image_grid_thw": torch.tensor([[1, rows, columns]], device=device),
    }

    def answer() -> Tensor:
        with torch.inference_mode():
            return model.generate(
                **inputs, max_new_tokens=CAPTION_TOKENS, min_new_tokens=CAPTION_TOKENS, do_sample=False
            )

    seconds, peak = _timed(answer, device, repeats)
    return Timing("caption", f"{width}x{height}", CAPTION_TOKENS, seconds, peak)


def free() -> None:
    """Give memory back between two measurements."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
