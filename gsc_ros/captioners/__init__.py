"""Captioners: image -> P, what the scene means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gsc_ros.captioners.prompts import PROMPTS
from gsc_ros.profile_fields import Field, ProfileError, check

if TYPE_CHECKING:
    from gsc_ros.profiles import Profile

MODES = ("descriptor", "fixed", "off", "model")
_ASKED = {"length": Field(choices=tuple(PROMPTS)), "most_tokens": Field(kind=int, low=1, high=4096)}
# What each captioner with a model reads of the section ``captioner`` of a profile, beside its name.
BACK_ENDS = {
    "qwen_vl": {
        "model": Field(required=True),
        **_ASKED,
        "memory": Field(choices=("full", "offload", "nf4")),
        "dtype": Field(choices=("float32", "bfloat16", "float16")),
    },
    "endpoint": {
        "url": Field(required=True),
        "model": Field(required=True),
        **_ASKED,
        "timeout_s": Field(kind=float, low=0.1, high=3600),
        "key": Field(),
    },
}


class Captioner(Protocol):
    """What the encoder asks of a captioner."""

    def caption(self, image: NDArray[np.uint8]) -> str:
        """A caption of ``image`` (H,W,3), RGB; an empty string says nothing."""
        ...


def make_captioner(mode: str, *, text: str = "") -> Captioner:
    """The captioner without a model of ``mode``: ``descriptor``, ``fixed`` (says ``text``) or ``off``."""
    from gsc_ros.captioners.descriptor import DescriptorCaptioner
    from gsc_ros.captioners.fixed import FixedCaptioner

    if mode == "descriptor":
        return DescriptorCaptioner()
    if mode == "fixed":
        return FixedCaptioner(text)
    if mode == "off":
        return FixedCaptioner("")
    raise ValueError(f"caption mode {mode!r}: {', '.join(MODES)} are known")


def check_section(section: Mapping[str, Any], where: str) -> None:
    """Raise ProfileError where the section ``captioner`` of a profile does not fit; an empty one names none."""
    if not section:
        return
    if "name" not in section:
        raise ProfileError(f"{where}, captioner lacks name: {' and '.join(BACK_ENDS)} are known")
    named = Field(choices=tuple(BACK_ENDS))
    named.check(section["name"], f"{where}: the captioner")
    check(section, {"name": named, **BACK_ENDS[section["name"]]}, f"{where}, captioner")


def load_captioner(profile: Profile, *, device: str = "cpu") -> Captioner:
    """The captioner that the section ``captioner`` of ``profile`` names, for ``caption_mode`` model.

    ``name`` is ``qwen_vl`` or ``endpoint``, the rest are the arguments of :meth:`QwenVlCaptioner.load` or of
    :class:`EndpointCaptioner`. Raises ProfileError.
    """
    section: dict[str, Any] = dict(profile.options.get("captioner") or {})
    name = section.pop("name", None)
    if name not in BACK_ENDS:
        raise ProfileError(
            f"profile {profile.name!r} names {f'the captioner {name!r}' if name else 'no captioner'}: "
            f"{' and '.join(BACK_ENDS)} are known; or set caption_mode to descriptor, fixed or off"
        )
    try:
        if name == "endpoint":
            from gsc_ros.captioners.endpoint import EndpointCaptioner

            return EndpointCaptioner(**section)
        from gsc_ros.captioners.qwen_vl import QwenVlCaptioner

        folder = profile.weights / Path(str(section.pop("model", "")))
        model = str(folder) if folder.is_dir() else str(profile.options["captioner"].get("model", ""))
        return QwenVlCaptioner.load(model, device=device, **section)
    except ProfileError:
        raise
    except (TypeError, ValueError) as error:
        raise ProfileError(f"profile {profile.name!r}, captioner: {error}") from error
