"""Tiny models with random weights, saved in the very folders that the full-size ones come in."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
import torch

WORDS = [
    "a",
    "the",
    "of",
    "and",
    "in",
    "on",
    "road",
    "rock",
    "tree",
    "sky",
    "image",
    "describe",
    "this",
    "plain",
    "sentence",
    "at",
    "most",
    "fifteen",
    "words",
    "one",
]


def make_torchvision_importable() -> None:
    """torchvision's default wheel is built for CUDA; beside a CPU build of torch its operators are missing."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)


_kept: list = []


def save_flux(folder: Path, *, seed: int = 0, guidance: bool = True) -> Path:
    """A FluxPipeline: 5 multi-stream and 3 single-stream blocks of width 32."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    torch.manual_seed(seed)
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=5, num_single_layers=3, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, guidance_embeds=guidance, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4,
        use_quant_conv=False, use_post_quant_conv=False, scaling_factor=2.6, shift_factor=0.1159,
    )  # fmt: skip
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=vae,
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(clip), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                projection_dim=32, bos_token_id=clip.bos_token_id, eos_token_id=clip.eos_token_id,
            )
        ),
        tokenizer=clip,
        text_encoder_2=T5EncoderModel(
            T5Config(vocab_size=len(t5), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu")
        ),
        tokenizer_2=t5,
        transformer=transformer,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def clip_tokenizer():
    from transformers import CLIPTokenizer

    letters = list(string.ascii_lowercase)
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=77)


def t5_tokenizer():
    from transformers import T5Tokenizer

    pieces = ["<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in WORDS), *string.ascii_lowercase, ",", "."]
    return T5Tokenizer(
        vocab=[(piece, -float(index)) for index, piece in enumerate(dict.fromkeys(pieces))],
        extra_ids=0,
        model_max_length=512,
    )


def save_codec(path: Path, *, seed: int = 0, channels: int = 320) -> Path:
    """Weights of an mbt2018-mean of 8 channels inside, whose y has values far from zero as a trained one's has."""
    from compressai.models import MeanScaleHyperprior

    torch.manual_seed(seed)
    model = MeanScaleHyperprior(8, channels)
    with torch.no_grad():
        last = model.g_a[6]
        y = model.g_a(torch.rand(1, 3, 128, 128))
        last.weight.mul_(3.0 / y.std())
    torch.save(model.state_dict(), path)
    return path


def save_qwen(folder: Path, *, seed: int = 0) -> Path:
    """A Qwen2.5-VL of two layers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    special = [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(special + alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", additional_special_tokens=special,
        chat_template=(
            "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}{% if c['type'] == 'image' %}"
            "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        ),
    )  # fmt: skip
    ids = {token: index for index, token in enumerate(special)}
    torch.manual_seed(seed)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
            "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32,
            "fullatt_block_indexes": [1], "window_size": 112, "patch_size": 14, "spatial_merge_size": 2,
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14, "merge_size": 2, "temporal_patch_size": 2,
                "min_pixels": 3136, "max_pixels": 1003520, "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28],
            }
        )
    )  # fmt: skip
    return folder


def save_depth(folder: Path, *, metric: bool = False, seed: int = 0) -> Path:
    """A Depth-Anything-V2 for pictures of 56x56."""
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
    )  # fmt: skip

    torch.manual_seed(seed)
    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=56, patch_size=14,
        out_indices=[1, 2, 3, 4], apply_layernorm=True, reshape_hidden_states=False,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
        head_in_channels=8, head_hidden_size=8, patch_size=14, max_depth=20 if metric else 1,
        depth_estimation_type="metric" if metric else "relative",
    )  # fmt: skip
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    _image_processor(folder, "DPTImageProcessor", size={"height": 56, "width": 56}, ensure_multiple_of=14)
    return folder


def save_segmentation(folder: Path, names: list[str], *, seed: int = 0) -> Path:
    """A Mask2Former of the classes ``names`` for pictures of 64x64."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    torch.manual_seed(seed)
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=16, num_queries=12,
        id2label=dict(enumerate(names)), label2id={name: index for index, name in enumerate(names)},
    )  # fmt: skip
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    _image_processor(
        folder, "Mask2FormerImageProcessor", size={"height": 64, "width": 64}, ignore_index=255, num_labels=len(names)
    )
    return folder


def save_exported_segmentation(
    folder: Path, names: list[str] | None, kind: str = "scores", *, side: int | str = 16, **processor: object
) -> Path:
    """Networks whose answer is plain: the largest of the three colours at a quarter of the size (``scores``), that as integers
    (``classes``), or the mean of the three (``foreground``)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True)
    fixed = isinstance(side, int)
    small, planes = (side // 4, 3) if fixed else ("h", "num_labels")  # optimum names what it leaves open
    pooled = helper.make_node("AveragePool", ["pixel_values"], ["scores"], kernel_shape=[4, 4], strides=[4, 4])
    answers: dict[str, tuple] = {
        "scores": ([pooled], "scores", TensorProto.FLOAT, [1, planes, small, small], []),
        "classes": (
            [pooled, helper.make_node("ArgMax", ["scores"], ["classes"], axis=1, keepdims=0)],
            "classes", TensorProto.INT64, [1, small, small], [],
        ),
        "foreground": (
            [pooled, helper.make_node("ReduceMean", ["scores", ], ["foreground"], axes=[1])],
            "foreground", TensorProto.FLOAT, [1, 1, small, small], [],
        ),
        "flat": (
            [helper.make_node("ReduceMean", ["pixel_values"], ["mean"], keepdims=0), helper.make_node("Mul", ["mean", "one"], ["flat"])],
            "flat", TensorProto.FLOAT, [1], [numpy_helper.from_array(np.ones(1, np.float32), "one")],
        ),
    }  # fmt: skip
    nodes, output, number, shape, constants = answers[kind]
    graph = helper.make_graph(
        nodes, kind, [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [1, 3 if fixed else "num_channels", side, side])],
        [helper.make_tensor_value_info(output, number, shape)], constants,
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    _image_processor(folder, "SegformerImageProcessor", **processor)
    if names is not None:
        (folder / "config.json").write_text(json.dumps({"id2label": dict(enumerate(names))}))
    return folder


def _image_processor(folder: Path, kind: str, **changes: object) -> None:
    values = {
        "image_processor_type": kind, "do_resize": True, "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255,
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(values | changes))


def save_constant_onnx(path: Path, side: int, answer: np.ndarray) -> Path:
    """A model of one input 1x3xSxS that always answers the same."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceSum", ["images"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "nothing"], ["none"]),
        helper.make_node("Add", ["answer", "none"], ["output0"]),
    ]
    constants = [numpy_helper.from_array(answer, "answer"), numpy_helper.from_array(np.float32(0), "nothing")]
    graph = helper.make_graph(
        nodes, "constant", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, list(answer.shape))], constants,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
