"""Captioner ``qwen_vl``: Qwen2.5-VL and the models that came after it, through transformers.

The model is asked greedily, so that one image has one caption. The image half of its processor is used
alone: the video half needs torchvision, which a robot has no use for.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.captioners.prompts import prompt_of, tidy
from gsc_ros.profiles import ProfileError
from gsc_ros.weights import check_model

HINT = "docs/paper.md says how to get the weights"
MODES = ("full", "offload", "nf4")
IMAGE_PAD = "<|image_pad|>"
LEAST_PIXELS = 56 * 56
MOST_PIXELS = 1 << 20  # an image is averaged down to that: about 1,300 image tokens


class QwenVlCaptioner:
    """A vision-language model that is asked to describe images."""

    def __init__(self, model: Any, tokenizer: Any, images: Any, *, length: str, most_tokens: int | None = None) -> None:
        self._model, self._tokenizer, self._images = model, tokenizer, images
        self._turn = threading.Lock()  # the cameras of a robot share one model
        self._prompt = prompt_of(length)
        self._most_tokens = most_tokens or self._prompt.most_tokens

    @classmethod
    def load(
        cls,
        model: str,
        *,
        length: str = "short",
        most_tokens: int | None = None,
        memory: str = "full",
        dtype: str = "bfloat16",
        device: str = "cpu",
    ) -> QwenVlCaptioner:
        """Weights from a folder, or from a hub id, which downloads; raises ProfileError in one line.

        ``memory``: ``full`` on the device; ``offload`` as much as fits on the GPU, the rest in main memory; ``nf4``
        quantised to four bits.
        """
        prompt_of(length)
        if memory not in MODES:
            raise ProfileError(f"captioner memory {memory!r}: {', '.join(MODES)} are known")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ProfileError(f"device {device}: torch sees no GPU here; install torch with CUDA, or use device cpu")
        if memory != "full" and not device.startswith("cuda"):
            raise ProfileError(f"captioner memory {memory!r} needs a GPU (device cuda)")
        folder = Path(model).expanduser()
        if folder.exists() or model.startswith((".", "/", "~")) or model.count("/") != 1:
            check_model(folder, classes=("VLForConditionalGeneration", "VLMoeForConditionalGeneration"), hint=HINT)
        try:
            from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer
        except ImportError as error:
            raise ProfileError(
                f"the captioner qwen_vl needs transformers: pip install 'gsc-ros[paper]' ({error})"
            ) from error
        extra: dict[str, Any] = {}
        if memory != "full":
            extra["device_map"] = "auto"
        if memory == "nf4":
            from transformers import BitsAndBytesConfig

            extra["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, dtype)
            )
        try:
            net = AutoModelForImageTextToText.from_pretrained(model, dtype=getattr(torch, dtype), **extra)
            tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
            images = AutoImageProcessor.from_pretrained(model)
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            raise ProfileError(f"{model} cannot be loaded: {str(error).splitlines()[0]}; {HINT}") from error
        if memory == "full":
            net.to(device)
        return cls(net.eval().requires_grad_(False), tokenizer, images, length=length, most_tokens=most_tokens)

    def caption(self, image: NDArray[np.uint8]) -> str:
        """A caption of ``image`` (H,W,3), RGB."""
        return self.captions([image])[0]

    def captions(self, images: Sequence[NDArray[np.uint8]]) -> list[str]:
        """Captions of several images, asked at once."""
        inputs = self.inputs(images)
        with self._turn, torch.inference_mode():
            answers = self._model.generate(**inputs, max_new_tokens=self._most_tokens, do_sample=False)
        new = answers[:, inputs["input_ids"].shape[1] :]
        return [tidy(text) for text in self._tokenizer.batch_decode(new, skip_special_tokens=True)]

    def inputs(self, images: Sequence[NDArray[np.uint8]]) -> dict[str, torch.Tensor]:
        """What the model is given: prompts with as many image tokens as each image has, and their patches."""
        from PIL import Image as Pillow

        seen = self._images(
            images=[Pillow.fromarray(image) for image in images],
            return_tensors="pt",
            size={"shortest_edge": LEAST_PIXELS, "longest_edge": MOST_PIXELS},
        )
        merged = self._images.merge_size**2
        question = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": self._prompt.text}]}]
        asked = self._tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
        texts = [
            asked.replace(IMAGE_PAD, IMAGE_PAD * (int(grid.prod()) // merged), 1) for grid in seen["image_grid_thw"]
        ]
        tokens = self._tokenizer(texts, return_tensors="pt", padding=True)
        pad = self._tokenizer.convert_tokens_to_ids(IMAGE_PAD)
        inputs = {
            "input_ids": tokens["input_ids"],
            "attention_mask": tokens["attention_mask"],
            # Left out, positions would silently be those of text, and the answer another one.
            "mm_token_type_ids": (tokens["input_ids"] == pad).to(torch.int64),
            "pixel_values": seen["pixel_values"],
            "image_grid_thw": seen["image_grid_thw"],
        }
        return {name: value.to(self._model.device) for name, value in inputs.items()}
