"""CompressAI latents: the 320-channel y of a published codec, at stride 16 (paper 3.2).

Only g_a is run. The hyper path, which would need its own bytes, is left out: ``gsc calibrate`` fits
integer tables for every channel instead, so that any few of the channels can be sent alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gsc_ros.entropy.channels import ChannelTables
from gsc_ros.latents import layout_of
from gsc_ros.latents.quantised import Planes, QuantisedLatents
from gsc_ros.profiles import Profile, ProfileError
from gsc_ros.weights import load_tensors

# Names of the zoo and the classes behind them; all of them have 320 channels at their higher qualities.
MODELS = {
    "bmshj2018-factorized": "FactorizedPrior",
    "bmshj2018-hyperprior": "ScaleHyperprior",
    "mbt2018-mean": "MeanScaleHyperprior",
    "mbt2018": "JointAutoregressiveHierarchicalPriors",
    "elic2022-official": "Elic2022Official",
}
FILE = "codec.safetensors"
LEVELS = 8  # that gsc calibrate makes


def model_class(name: str) -> type[nn.Module]:
    """CompressAI's class for the codec called ``name``; raises ProfileError where it is not known or not installed."""
    if name not in MODELS:
        raise ProfileError(f"codec {name!r}: {', '.join(MODELS)} are known")
    try:
        from compressai import models
    except ImportError as error:
        raise ProfileError(
            f"the latents compressai need the package of that name: pip install 'gsc-ros[paper]' ({error})"
        ) from error
    return getattr(models, MODELS[name])


def analysis_of(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    """g_a of the codec ``name`` with the weights ``g_a.*`` of ``state``; raises ProfileError where they do not fit."""
    own = {key.removeprefix("g_a."): value.float() for key, value in state.items() if key.startswith("g_a.")}
    try:
        # The widths of the older models follow from their first and last layers.
        sizes = () if name == "elic2022-official" else (own["0.weight"].shape[0], own["6.weight"].shape[0])
        analysis = model_class(name)(*sizes).get_submodule("g_a")
        analysis.load_state_dict(own)
    except (KeyError, RuntimeError) as error:
        raise ProfileError(
            f"the weights do not fit {name}: {str(error).splitlines()[0]}; name the codec they were trained as"
        ) from error
    return analysis


class CompressaiLatents(QuantisedLatents):
    """y of every channel at stride 16; symbols are round(y / step), with step 1 at the highest level as in the paper."""

    def __init__(
        self, profile: Profile, analysis: nn.Module, state: Mapping[str, Tensor], tables: ChannelTables, *, device: str
    ) -> None:
        super().__init__(
            layout_of(profile), tables, step=state["step"].numpy(), gain=state["gain"].numpy(), device=device
        )
        self._analysis = analysis.to(device).eval().requires_grad_(False)

    @classmethod
    def load(cls, profile: Profile, *, device: str = "cpu") -> CompressaiLatents:
        """What ``gsc calibrate`` wrote into the folder of ``profile``; raises ProfileError."""
        path, state = profile.weights / FILE, load_tensors(profile.files, FILE)
        if missing := {"step", "gain"} - set(state):
            raise ProfileError(f"{path} lacks {', '.join(sorted(missing))}: write it with gsc calibrate")
        model = str(profile.options.get("codec", {}).get("model", ""))
        analysis = analysis_of(model, state)
        shapes = tuple(state["step"].shape), tuple(state["gain"].shape)
        if shapes != ((LEVELS, profile.channels), (profile.channels,)):
            raise ProfileError(
                f"{path} has steps and gains of {shapes[0]} and {shapes[1]}: {LEVELS} levels of the profile's "
                f"{profile.channels} channels are needed; write it with gsc calibrate"
            )
        tables = ChannelTables.load(profile.files, "channels.safetensors", layout_of(profile), levels=LEVELS)
        return cls(profile, analysis, state, tables, device=device)

    def analyse(self, x: Tensor) -> Planes:
        with torch.inference_mode():
            y = self._analysis(x)[0].cpu().numpy()
        return dict(enumerate(y))
