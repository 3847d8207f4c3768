"""Captioner ``endpoint``: any vision-language model behind an OpenAI-compatible server on the robot's own network.

How a model that the robot cannot hold itself (Qwen2.5-VL-72B behind vLLM) is run in practice.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.captioners.prompts import prompt_of, tidy

LONGEST_SIDE = 1024
MOST_ANSWER = 1 << 20


class EndpointError(RuntimeError):
    """The server did not answer with a caption."""


class EndpointCaptioner:
    """Asks ``url``/chat/completions, greedily, one image a request."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        length: str = "short",
        most_tokens: int | None = None,
        timeout_s: float = 20.0,
        key: str = "",
    ) -> None:
        """``url`` ends in /v1 as a rule; raises ValueError for one that is no http address."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"captioner url {url!r}: an address such as http://computer:8000/v1 is needed")
        self._url = url.rstrip("/") + "/chat/completions"
        self._model = model
        self._prompt = prompt_of(length)
        self._most_tokens = most_tokens or self._prompt.most_tokens
        self._timeout_s = timeout_s
        self._key = key

    def caption(self, image: NDArray[np.uint8]) -> str:
        """A caption of ``image`` (H,W,3), RGB; raises EndpointError within the timeout."""
        content = [
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{_jpeg(image)}"}},
            {"type": "text", "text": self._prompt.text},
        ]
        asked = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self._most_tokens,
            "temperature": 0,
            "seed": 0,
        }
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        request = urllib.request.Request(self._url, json.dumps(asked).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                content = json.loads(answer.read(MOST_ANSWER))["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:
            raise EndpointError(f"{self._url} answers {error.code} {error.reason}") from error
        except OSError as error:
            raise EndpointError(f"{self._url} does not answer: {getattr(error, 'reason', error)}") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise EndpointError(f"{self._url} answers, but not with a chat completion") from error
        if not isinstance(content, str):
            raise EndpointError(f"{self._url} answers, but not with text")
        return tidy(content)

    def captions(self, images: Sequence[NDArray[np.uint8]]) -> list[str]:
        """Captions of several images, one after the other."""
        return [self.caption(image) for image in images]


def _jpeg(image: NDArray[np.uint8]) -> str:
    factor = LONGEST_SIDE / max(image.shape[:2])
    if factor < 1:
        image = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    coded, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert coded
    return base64.b64encode(data.tobytes()).decode()
