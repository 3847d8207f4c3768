"""Captions by a vision-language model: a tiny random Qwen2.5-VL, a server, a live camera."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
import torch
from conftest import scene

from gsc_ros.captioners.background import BackgroundCaptioner
from gsc_ros.captioners.endpoint import EndpointCaptioner, EndpointError
from gsc_ros.captioners.prompts import PROMPTS, tidy
from gsc_ros.cli.main import run
from gsc_ros.profiles import ProfileError


@pytest.fixture(scope="module")
def folder(tmp_path_factory, paper_packages):
    import tiny

    return tiny.save_qwen(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def captioner(folder):
    from gsc_ros.captioners.qwen_vl import QwenVlCaptioner

    return QwenVlCaptioner.load(str(folder), dtype="float32", most_tokens=8)


def test_the_prompt_has_as_many_image_tokens_as_the_image_has(captioner) -> None:
    inputs = captioner.inputs([scene(1, 352, 1216)])
    pad = captioner._tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert int((inputs["input_ids"] == pad).sum()) == int(inputs["image_grid_thw"].prod()) // 4
    assert int(inputs["mm_token_type_ids"].sum()) == int((inputs["input_ids"] == pad).sum())


def test_inputs_are_those_of_the_whole_processor(captioner, folder) -> None:
    """Where torchvision can be had, the model's own processor has to give the same."""
    from transformers import Qwen2_5_VLProcessor, Qwen2VLVideoProcessor

    images = captioner._images
    processor = Qwen2_5_VLProcessor(
        images, captioner._tokenizer, Qwen2VLVideoProcessor(), chat_template=captioner._tokenizer.chat_template
    )
    from PIL import Image

    image = scene(1, 120, 160)
    question = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPTS["short"].text}]}]
    text = captioner._tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    theirs = processor(text=[text], images=[Image.fromarray(image)], return_tensors="pt")
    ours = captioner.inputs([image])
    for name in ("input_ids", "pixel_values", "image_grid_thw"):
        assert torch.equal(ours[name], theirs[name])


def test_captions_are_reproducible_and_the_same_in_a_batch(captioner) -> None:
    images = [scene(1, 112, 112), scene(2, 140, 224)]
    together = captioner.captions(images)
    assert together == captioner.captions(images)
    assert together == [captioner.caption(image) for image in images]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"length": "endless"}, "short, medium, long"),
        ({"memory": "offload"}, "needs a GPU"),
        ({"memory": "tape"}, "full, offload, nf4"),
        ({"device": "cuda"}, "sees no GPU"),
    ],
)
def test_what_it_cannot_do_is_said_in_one_line(folder, settings, said) -> None:
    from gsc_ros.captioners.qwen_vl import QwenVlCaptioner

    if settings.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ValueError, match=said):
        QwenVlCaptioner.load(str(folder), **settings)


def test_a_folder_that_is_no_such_model_is_refused(folder, tmp_path) -> None:
    from gsc_ros.captioners.qwen_vl import QwenVlCaptioner

    with pytest.raises(ProfileError, match="no folder"):
        QwenVlCaptioner.load(str(tmp_path / "nowhere"))
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    weights = next(half.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ProfileError, match="only half there"):
        QwenVlCaptioner.load(str(half))
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(ProfileError, match="holds LlamaForCausalLM"):
        QwenVlCaptioner.load(str(half))


def test_a_dataset_is_captioned_and_resumed(folder, photographs, tmp_path, capsys) -> None:
    out = tmp_path / "captions.jsonl"
    arguments = [
        "caption",
        str(photographs),
        "--model",
        str(folder),
        "--dtype",
        "float32",
        "--most-tokens",
        "4",
        "--out",
        str(out),
    ]
    assert run(arguments) == 0
    lines = out.read_text().splitlines()
    assert len({json.loads(line)["file"] for line in lines}) == 4
    out.write_text("\n".join(lines[:2]) + "\n" + lines[2][:10])  # killed in the middle of a line
    assert run(arguments) == 0
    assert "2 captions written" in capsys.readouterr().out
    assert sorted(out.read_text().splitlines()) == sorted(lines)
    assert run(arguments) == 0
    assert "all 4 images have a caption" in capsys.readouterr().out


class _Server(BaseHTTPRequestHandler):
    answers: ClassVar[list] = []
    asked: ClassVar[list] = []

    def do_POST(self) -> None:
        self.asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        status, body = (
            self.answers.pop(0) if self.answers else (200, {"choices": [{"message": {"content": " A  rock.\n"}}]})
        )
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments) -> None:
        return


@pytest.fixture
def server():
    _Server.answers, _Server.asked = [], []
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}/v1"
    httpd.shutdown()
    httpd.server_close()


def test_a_server_is_asked_with_the_image_and_its_answer_is_tidied(server) -> None:
    captioner = EndpointCaptioner(server, "qwen2.5-vl-72b", length="medium")
    assert captioner.caption(scene(1, 64, 64)) == "A rock."
    path, asked = _Server.asked[0]
    assert path == "/v1/chat/completions"
    assert asked["temperature"] == 0
    assert asked["max_tokens"] == PROMPTS["medium"].most_tokens
    assert asked["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, {}), "answers 500"),
        ((200, b"<html>"), "not with a chat completion"),
        ((200, {"choices": []}), "not with a chat completion"),
        ((200, {"choices": [{"message": {"content": None}}]}), "not with text"),
    ],
)
def test_a_server_that_answers_nonsense_is_named(server, answer, said) -> None:
    _Server.answers = [answer]
    with pytest.raises(EndpointError, match=said):
        EndpointCaptioner(server, "m").caption(scene(1, 64, 64))


def test_no_server_and_no_address() -> None:
    with pytest.raises(EndpointError, match="does not answer"):
        EndpointCaptioner("http://127.0.0.1:9/v1", "m", timeout_s=1).caption(scene(1, 64, 64))
    with pytest.raises(ValueError, match="http://computer"):
        EndpointCaptioner("computer:8000", "m")


def test_frames_do_not_wait_for_words_and_the_last_ones_stay() -> None:
    told, now, gate = [], [0.0], threading.Event()

    class Slow:
        works = True
        looked = 0

        def caption(self, image) -> str:
            gate.wait(10)
            self.looked += 1
            if not self.works:
                raise EndpointError("down")
            return f"picture {image[0, 0, 0]}"

    inner = Slow()
    captioner = BackgroundCaptioner(inner, report=told.append, clock=lambda: now[0])
    frame = lambda value: np.full((16, 16, 3), value, np.uint8)  # noqa: E731
    assert captioner.caption(frame(1)) == ""
    assert captioner.caption(frame(2)) == ""  # still looking at the first
    gate.set()
    captioner.wait(10)
    assert captioner.caption(frame(3)) == "picture 1"
    captioner.wait(10)
    inner.works = False
    assert captioner.caption(frame(4)) == "picture 3"
    captioner.wait(10)
    looked = inner.looked
    assert captioner.caption(frame(5)) == "picture 3"
    captioner.wait(10)
    assert inner.looked == looked  # not asked again at once
    assert len(told) == 1
    assert "down" in told[0]
    now[0], inner.works = 6.0, True
    captioner.caption(frame(6))
    captioner.wait(10)
    assert captioner.caption(frame(7)) == "picture 6"
    assert told[1] == "the captioner answers again"


def test_answers_are_tidied() -> None:
    assert tidy('"The image shows a  road\nin fog."') == "a road in fog."


def test_a_profile_names_its_captioner(folder, calibrated, tmp_path) -> None:
    import yaml

    from gsc_ros.encoder import Encoder, EncodeSettings

    content = yaml.safe_load((calibrated / "profile.yaml").read_text()) | {"weights": str(calibrated)}
    for section, said in (
        ({"name": "poet"}, "the captioner 'poet'"),
        ({}, "no captioner"),
        ({"name": "endpoint", "url": "http://x/v1", "model": "m", "volume": 11}, "volume"),
    ):
        (tmp_path / "profile.yaml").write_text(yaml.safe_dump(content | {"captioner": section}))
        with pytest.raises(ProfileError, match=said):
            Encoder.load(tmp_path / "profile.yaml").encode(scene(1, 64, 64), EncodeSettings(caption_mode="model"))
    section = {"name": "qwen_vl", "model": str(folder), "dtype": "float32", "most_tokens": 4}
    (tmp_path / "profile.yaml").write_text(yaml.safe_dump(content | {"captioner": section}))
    encoder = Encoder.load(tmp_path / "profile.yaml")
    encoded = encoder.encode(scene(1, 64, 64), EncodeSettings(caption_mode="model"))
    assert encoded.caption == encoder.captioner.caption(scene(1, 64, 64))


def test_it_works_without_torchvision(folder) -> None:
    program = f"""
import sys
sys.modules["torchvision"] = None
import numpy as np
from gsc_ros.captioners.qwen_vl import QwenVlCaptioner
captioner = QwenVlCaptioner.load({str(folder)!r}, dtype="float32", most_tokens=4)
captioner.caption(np.zeros((112, 140, 3), np.uint8))
print("captioned")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.stdout.endswith("captioned\n"), ended.stderr
