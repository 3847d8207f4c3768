"""Generator ``flux``: FLUX.1 guided by caption and latent (paper 3.3), with a denoising loop of our own.

    caption --> CLIP, T5 (kept for captions that repeat) --+
    y_sel, mask --> control branch ------------------------+--> sample (eq. 3) --> VAE --> image

diffusers' ControlNet pipeline insists on an image as its condition, which is why the loop is here; without
a control branch it gives what ``FluxPipeline`` gives, bit for bit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_ros.generators import MOST_STEPS, Painted, Request
from gsc_ros.generators.rectified_flow import sample
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.quantised import QuantisedLatents
from gsc_ros.profiles import Profile, ProfileError
from gsc_ros.weights import check_model, check_pipeline

MAX_STEPS = MOST_STEPS["flux"]
CAPTIONS_KEPT = 64
TILED_PIXELS = 3 << 19  # from 1.5 million pixels on the VAE decodes tile by tile
SHARPNESS = 1.0  # of the confidence; not calibrated, because that needs trained weights
ROUNDING = 0.3  # root mean square of what rounding alone leaves, in steps
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PARTS = {
    "transformer": ("FluxTransformer2DModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("T5EncoderModel",),
}
HINT = "docs/paper.md says how to get the weights"


@dataclass(frozen=True, kw_only=True)
class FluxSettings:
    """The section ``flux`` of a profile, whose ranges are in :data:`gsc_ros.generators.BACK_ENDS`.

    base             FLUX.1 as diffusers saves it: a folder, or a hub id (which downloads)
    control          folder of the trained branch, from the profile's weights; empty: text alone
    memory           ``full``: all on the device; ``offload``: one model at a time on the GPU, the rest in main
                     memory; ``nf4``, ``fp8``: the transformer quantised as it is loaded
    dtype            float32, bfloat16 or float16; bfloat16 is far too slow on CPUs
    guidance         FLUX.1-dev's distilled guidance; schnell has none
    max_text_tokens  of T5; 512 for dev, 256 for schnell
    compile          compile the transformer: slower first frames, faster later ones
    """

    base: str
    control: str = ""
    memory: str = "full"
    dtype: str = "bfloat16"
    guidance: float = 3.5
    max_text_tokens: int = 512
    compile: bool = False

    @classmethod
    def of(cls, profile: Profile) -> FluxSettings:
        """The settings in ``profile``; raises ProfileError where it has none, its generator being another."""
        section = profile.options.get("flux")
        if section is None:
            raise ProfileError(
                f"profile {profile.name!r} needs a section flux with base, the folder or hub id of FLUX.1"
            )
        return cls(**section)


def check(
    settings: FluxSettings, weights: Path, device: str, models: Sequence[str] = tuple(PARTS)
) -> tuple[str, Path | None]:
    """Base (folder or hub id) and control folder; raises ProfileError before anything heavy, ``models``, is loaded."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ProfileError(f"device {device}: torch sees no GPU here; install torch with CUDA, or use device cpu")
    if settings.memory in ("offload", "nf4") and not device.startswith("cuda"):
        raise ProfileError(
            f"flux.memory {settings.memory!r} needs a GPU (device cuda); on a CPU full and fp8 are possible"
        )
    needed = 0
    folder = (weights / Path(settings.base).expanduser()).resolve()
    local = folder.exists() or settings.base.startswith((".", "/", "~")) or settings.base.count("/") != 1
    if local:
        chosen = {name: PARTS[name] for name in models}
        needed += check_pipeline(folder, pipeline="FluxPipeline", models=chosen, hint=HINT)
    control = (weights / settings.control).resolve() if settings.control else None
    if control is not None:
        needed += check_model(control, classes=("LatentControl",), hint="gsc train control makes it; " + HINT)
    if settings.memory == "full" and local:
        check_memory(needed, device)
    return str(folder) if local else settings.base, control


def check_memory(
    needed: int, device: str, *, what: str = "the weights take", instead: str = "set flux.memory to offload, nf4 or fp8"
) -> None:
    """Raise ProfileError where ``needed`` bytes cannot fit: ``what`` takes them, and what to do ``instead``."""
    if device.startswith("cuda"):
        free, where = torch.cuda.mem_get_info(device)[0], "GPU memory"
    else:
        import os

        free, where = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "memory"
    if needed > 0.95 * free:
        raise ProfileError(
            f"{what} {needed / 2**30:.1f} GiB, {where} is {free / 2**30:.1f} GiB: {instead}, or take a larger device"
        )


def load_pipeline(base: str, dtype: torch.dtype, models: Sequence[str] = tuple(PARTS), **extra: Any) -> Any:
    """FLUX.1 with ``models`` alone, the others stay on the disk; raises ProfileError in one line."""
    try:
        from diffusers import FluxPipeline
    except ImportError as error:
        raise ProfileError(
            f"the generator flux needs diffusers and transformers: pip install 'gsc-ros[paper]' ({error})"
        ) from error
    absent = [name for name in PARTS if name not in models]
    absent += [name.replace("text_encoder", "tokenizer") for name in absent if "text_encoder" in name]
    try:
        pipeline = FluxPipeline.from_pretrained(base, dtype=dtype, **dict.fromkeys(absent), **extra)
    except (OSError, ValueError, RuntimeError) as error:
        raise ProfileError(f"{base} cannot be loaded: {str(error).splitlines()[0]}; {HINT}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class FluxGenerator:
    """FLUX.1 and the control branch, on one device."""

    def __init__(
        self, pipeline: Any, control: Any, latents: QuantisedLatents, settings: FluxSettings, *, device: str = "cpu"
    ) -> None:
        self.pipeline = pipeline
        self.control = control
        self._latents = latents
        self._settings = settings
        self._device = device
        self._texts: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()

    @classmethod
    def load(cls, profile: Profile, latents: QuantisedLatents, *, device: str = "cpu") -> FluxGenerator:
        """The weights that ``profile`` names; raises ProfileError in one line before anything heavy is loaded."""
        settings = FluxSettings.of(profile)
        base, folder = check(settings, profile.weights, device)
        dtype = TYPES[settings.dtype]
        pipeline = load_pipeline(base, dtype, **_quantised(settings, dtype))
        from gsc_ros.generators.flux_control import LatentControl

        try:
            control = None if folder is None else LatentControl.from_pretrained(folder, dtype=dtype)
        except (OSError, ValueError, RuntimeError) as error:
            raise ProfileError(f"{folder} cannot be loaded: {str(error).splitlines()[0]}; {HINT}") from error
        if control is not None and control.config.latent_channels != latents.layout.channels:
            raise ProfileError(
                f"{folder} was trained for {control.config.latent_channels} channels, the latents have {latents.layout.channels}"
            )
        place(pipeline, settings, device)
        if control is not None:
            control.to(device).eval().requires_grad_(False)
        if settings.compile:
            compile_blocks(pipeline.transformer, control)
        return cls(pipeline, control, latents, settings, device=device)

    def generate_batch(self, requests: Sequence[Request]) -> list[Painted]:
        """Pictures at once; each is what a batch of its own gives."""
        first = requests[0]
        if not 1 <= first.steps <= MAX_STEPS:
            raise ValueError(f"steps {first.steps}: 1 to {MAX_STEPS} are allowed")
        if any(r.realism != 1.0 for r in requests):
            raise ValueError("realism: this generator has no picture but the sampled one, 1")
        height, width = self._canvas(first).working(self._latents.layout)
        with torch.inference_mode():
            texts = [self.embed(r.caption) for r in requests]
            tokens, pooled = (torch.cat(part) for part in zip(*texts, strict=True))
            packed = self.denoise(
                tokens, pooled, self._condition(requests, tokens.dtype), (height, width), first.steps,
                [torch.Generator().manual_seed(r.seed) for r in requests],
            )  # fmt: skip
            images = self.decode(packed, height, width)
        return [Painted(r.geometry.shown(image)) for r, image in zip(requests, images, strict=True)]

    def denoise(
        self,
        tokens: Tensor,
        pooled: Tensor,
        condition: Tensor | None,
        size: tuple[int, int],
        steps: int,
        generators: list[torch.Generator],
    ) -> Tensor:
        """Packed VAE latents (B,height/16*width/16,64) of pictures of ``size``, multiples of 16 pixels.

        ``tokens`` (B,L,4096) and ``pooled`` (B,768) are the text, ``condition`` the latent
        (:func:`gsc_ros.generators.flux_control.condition_of`), None to leave it out.
        """
        from diffusers.pipelines.flux.pipeline_flux import calculate_shift, retrieve_timesteps

        pipe, transformer, batch = self.pipeline, self.pipeline.transformer, len(generators)
        z, image_ids = pipe.prepare_latents(
            batch, transformer.config.in_channels // 4, *size, tokens.dtype, self._device, generators
        )
        scheduler = pipe.scheduler
        named = {
            key: scheduler.config.get(key)
            for key in ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
        }
        shift = calculate_shift(z.shape[1], *named.values())
        retrieve_timesteps(scheduler, steps, self._device, sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift)
        inputs = {
            "pooled_projections": pooled,
            "encoder_hidden_states": tokens,
            "txt_ids": torch.zeros(tokens.shape[1], 3, device=self._device, dtype=tokens.dtype),
            "img_ids": image_ids,
            "guidance": torch.full([batch], self._settings.guidance, device=self._device)
            if transformer.config.guidance_embeds
            else None,
        }

        def predict(z: Tensor, t: Tensor) -> Tensor:
            now = {**inputs, "hidden_states": z, "timestep": (1000 * t).to(z.dtype) / 1000}
            residuals = {} if condition is None else self.control.guide(transformer, condition, now)
            return transformer(**now, **residuals, return_dict=False)[0]

        return sample(predict, z, scheduler.sigmas.tolist())

    def confidence(self, request: Request, painted: Painted) -> NDArray[np.uint8]:
        """The picture, encoded again, against the symbols that were received, position by position."""
        geometry, latents = request.geometry, self._latents
        if not request.symbols:
            return np.zeros((geometry.height, geometry.width), dtype=np.uint8)
        again = latents.tensor(geometry.shrink(painted.image, latents.layout))
        far = np.maximum(latents.deviation(again, request.symbols, request.level) - ROUNDING, 0.0)
        working = cv2.resize(
            np.exp(-SHARPNESS * far), geometry.working(latents.layout)[::-1], interpolation=cv2.INTER_LINEAR
        )
        return geometry.shown(np.asarray(working, dtype=np.float32), cv2.INTER_LINEAR)

    def embed(self, caption: str) -> tuple[Tensor, Tensor]:
        """Token and pooled embeddings of ``caption``; those of the last captions are kept, because captions repeat."""
        if caption not in self._texts:
            tokens, pooled, _ = self.pipeline.encode_prompt(
                prompt=caption, prompt_2=None, device=self._device, max_sequence_length=self._settings.max_text_tokens
            )
            self._texts[caption] = tokens, pooled
            while len(self._texts) > CAPTIONS_KEPT:
                self._texts.popitem(last=False)
        self._texts.move_to_end(caption)
        return self._texts[caption]

    def _canvas(self, request: Request) -> Geometry:
        return request.canvas(self._latents.layout)

    def _condition(self, requests: Sequence[Request], dtype: torch.dtype) -> Tensor | None:
        """The latents of a batch as tokens; None where there is no branch, or nothing was sent (C = 0)."""
        if self.control is None or not any(r.symbols for r in requests):
            return None
        from gsc_ros.generators.flux_control import condition_of

        y = torch.cat([self._latents.dense(r.symbols, r.level, r.geometry)[0] for r in requests])
        grid = self._latents.layout.grid(0, *self._canvas(requests[0]).nominal)
        if y.shape[2:] != grid:  # painted smaller: a token is the mean of what it covers
            y = torch.nn.functional.adaptive_avg_pool2d(y, grid)
        sent = torch.zeros(y.shape[:2], device=y.device)
        for row, request in enumerate(requests):
            sent[row, list(request.symbols)] = 1
        return condition_of(y.to(self._device, dtype), sent.to(self._device))

    def decode(self, packed: Tensor, height: int, width: int) -> list[NDArray[np.float32]]:
        """Pictures (height,width,3) in 0..1."""
        vae = self.pipeline.vae
        vae.use_tiling = in_tiles(height, width)
        z = self.pipeline._unpack_latents(packed, height, width, self.pipeline.vae_scale_factor)
        z = z / vae.config.scaling_factor + vae.config.shift_factor
        x = vae.decode(z.to(vae.dtype), return_dict=False)[0]
        return list((x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy())


def in_tiles(height: int, width: int) -> bool:
    """Whether the VAE decodes a picture of that size tile by tile."""
    return height * width >= TILED_PIXELS


def place(pipeline: Any, settings: FluxSettings, device: str) -> None:
    """Put the models of ``pipeline`` on ``device``, or have them come there when they are needed."""
    if settings.memory == "offload" or (settings.memory != "full" and device.startswith("cuda")):
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)


def compile_blocks(transformer: Any, control: Any) -> None:
    """Have the blocks compiled at their first call: blocks of one kind share what is compiled, which the whole model would not."""
    for model in (transformer, control):
        for name in ("transformer_blocks", "single_transformer_blocks"):
            for block in getattr(model, name, ()):
                block.compile()


def quantisation(settings: FluxSettings, dtype: torch.dtype) -> Any:
    """How the transformer is quantised in the memory modes that do, else None; raises ProfileError without their package."""
    if settings.memory not in ("nf4", "fp8"):
        return None
    package = "bitsandbytes" if settings.memory == "nf4" else "torchao"
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise ProfileError(f"flux.memory {settings.memory!r} needs {package}: pip install {package}")
    if settings.memory == "nf4":
        from diffusers import BitsAndBytesConfig

        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    from diffusers import TorchAoConfig
    from torchao.quantization import Float8WeightOnlyConfig

    return TorchAoConfig(Float8WeightOnlyConfig())


def _quantised(settings: FluxSettings, dtype: torch.dtype) -> dict[str, Any]:
    """What ``from_pretrained`` of a pipeline is given for :func:`quantisation`."""
    if (config := quantisation(settings, dtype)) is None:
        return {}
    from diffusers import PipelineQuantizationConfig

    return {"quantization_config": PipelineQuantizationConfig(quant_mapping={"transformer": config})}
