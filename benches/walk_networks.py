"""The networks that `bench_walk.py` walks on: the demo's digits, and ResNet-18 guides at 64x64.

No trained weights of the second kind ship, so a stand-in is made once and kept under runs/: a
random StyleGAN2 plays the scanner, random latents are the people, and two ResNet-18 learn, from
changed pictures of them, who they are and on which side of a plane their latents lie.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.data import load_digits_split, to_tensor
from latentpath.generators import StyleGAN2
from latentpath.generators.weights import read_weights
from latentpath.models import (
    Networks,
    Surrogate,
    encode,
    load_path_predictor,
    load_surrogate,
    save_path_predictor,
    save_surrogate,
)
from latentpath.production import ASSETS, ProduceConfig, load_bundle
from latentpath.production.prepared_endpoints import at_resolution, prepare_endpoints
from latentpath.training import PredictorConfig, SurrogateConfig, train_predictor, train_surrogate
from latentpath.training.augmentation import AugmentConfig, augment
from latentpath.training.training_steps import one_cycle

# The digits' pairs come in sets: the first is drawn with this seed, each next one with the next.
PAIRS, PAIRS_EACH = 3, 16

Ends = tuple[Tensor, Tensor, Tensor]  # [B, D], [B, D], [B]


@dataclass(frozen=True, kw_only=True)
class WalkNetworks(Networks):
    """What a walk is made with, and where it goes."""

    name: str
    make_ends: Callable[[int], Ends]
    """Endpoints and labels of so many paths."""
    make_latents: Callable[[], tuple[Tensor, Tensor]]
    """Latents [N, D] of the people, and their classes."""
    training_seconds: float | None = None
    """What the surrogate's training took, if known."""
    predictor_seconds: float | None = None
    """Likewise, the predictor's."""

    def predicting(self, file: Path, config: PredictorConfig) -> WalkNetworks:
        """The same with the predictor of a file, which is trained first if it is not there."""
        if not file.exists():
            print(f"  predictor: {config.points:,} points of the true energy", flush=True)
            began = time.process_time()
            made = train_predictor(self, *self.make_latents(), config=config)
            seconds = time.process_time() - began
            file.parent.mkdir(parents=True, exist_ok=True)
            save_path_predictor(file, made, notes={"seconds": seconds, "points": config.points})
        predictor = load_path_predictor(file, str(self.device))
        made = replace(self, predictor=predictor)
        made.check_trained_for()
        notes = read_weights(file, kind="predictor").notes
        return replace(made, predictor_seconds=float(notes["seconds"]))

    @cached_property
    def published_generator(self) -> StyleGAN2:
        """The generator with its weights laid out as published.

        Ours lie in PyTorch's layout "channels last". A second grouped convolution on the output
        of a first one then gets a wrong weight gradient on CPUs, in float64 too (PyTorch 2.13).
        """
        return copy.deepcopy(self.generator).to(memory_format=torch.contiguous_format)


def digits(
    surrogate_file: Path | None = None,
    training_seconds: float | None = None,
    device: str = "cpu",
) -> WalkNetworks:
    """The demo's networks; the paths join averages of five private digits of one class."""
    bundle = load_bundle(ASSETS, device, without=("surrogate",))

    def make_ends(paths: int) -> Ends:
        made = prepare_endpoints(load_digits_split().private, bundle, ProduceConfig(count=500))
        labels = torch.as_tensor(made.labels)
        source, drawn = torch.Generator(), []
        for number in range(paths):
            of_set, at = divmod(number, PAIRS_EACH)
            if at == 0:
                source.manual_seed(PAIRS + of_set)
            rows = torch.nonzero(labels == at % 10)[:, 0]
            drawn.append(rows[torch.randperm(len(rows), generator=source)[:2]])
        start, end = torch.stack(drawn).unbind(1)
        return made.centroids[start], made.centroids[end], labels[start]

    def make_latents() -> tuple[Tensor, Tensor]:
        data = load_digits_split().private
        side = bundle.generator.img_resolution
        images = to_tensor(at_resolution(data, side).images).to(device)
        return encode(bundle.encoder, images), torch.as_tensor(data.labels, device=device)

    path = surrogate_file or ASSETS / "surrogate.safetensors"
    surrogate, noted = (
        _open_surrogate(path, bundle.networks, device) if path.exists() else (None, None)
    )
    return WalkNetworks(
        bundle.generator,
        bundle.identity,
        bundle.classifier,
        surrogate,
        name="digits",
        make_ends=make_ends,
        make_latents=make_latents,
        training_seconds=training_seconds or noted,
    )


def _open_surrogate(path: Path, networks: Networks, device: str) -> tuple[Surrogate, float | None]:
    """The surrogate of a file, and the seconds of its training where the file says."""
    surrogate = load_surrogate(path, device)
    replace(networks, surrogate=surrogate).check_trained_for()
    seconds = read_weights(path, kind="surrogate").notes.get("seconds")
    return surrogate, None if seconds is None else float(seconds)


@dataclass(frozen=True)
class StandIn:
    """Size and training of the second networks."""

    side: int = 64
    """Side of the images, pixels."""
    latent_dim: int = 128
    channel_base: int = 2048
    channel_max: int = 128
    people: int = 200
    spread: float = 0.4
    """Standard deviation of the people's latents."""
    identity_steps: int = 400
    """Training steps of the identity classifier; on two cores 0.2 to 0.3 s each."""
    class_steps: int = 150
    """Those of the class classifier."""
    batch: int = 32
    stages: tuple[int, ...] = (64, 128, 256, 512)
    """Channels of the classifiers' stages: a ResNet-18."""
    surrogate: SurrogateConfig = field(default_factory=lambda: SurrogateConfig(width=512, depth=3))


def scanner(size: StandIn) -> StyleGAN2:
    """A random grey generator whose images span [-1, 1] and change with w."""
    torch.manual_seed(0)
    widths = {"channel_base": size.channel_base, "channel_max": size.channel_max}
    d = size.latent_dim
    g = StyleGAN2(d, 0, d, size.side, 1, {"num_layers": 2}, widths).eval().requires_grad_(False)
    for name, parameter in g.synthesis.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.1)
        elif name.endswith("affine.weight"):
            parameter.div_(size.spread)  # styles vary by about one from person to person
        elif name.endswith("bias") and "affine" not in name:
            parameter.normal_(std=0.1)
    images = g.synthesize(people(size)[0][:64])
    for name, parameter in g.synthesis.named_parameters():
        if "torgb" in name and "affine" not in name:
            parameter.div_(2 * images.std())
    return g


def people(size: StandIn) -> tuple[Tensor, Tensor]:  # -> [N, D], [N]
    """Latents and classes of the stand-in's people."""
    source = torch.Generator().manual_seed(1)
    latents = size.spread * torch.randn(size.people, size.latent_dim, generator=source)
    plane = torch.randn(size.latent_dim, generator=source)
    return latents, (latents @ plane > 0).long()


def resnet18(classes: int, stages: tuple[int, ...]) -> nn.Module:
    """MONAI's, with the stem of He et al., CVPR 2016: 7x7 of stride 2, and max pooling."""
    from monai.networks.nets.resnet import ResNet

    return ResNet(
        "basic",
        [2] * len(stages),
        list(stages),
        spatial_dims=2,
        n_input_channels=1,
        conv1_t_size=7,
        conv1_t_stride=2,
        bias_downsample=False,
        num_classes=classes,
    )


def train_guide(size: StandIn, g: StyleGAN2, targets: Tensor, steps: int) -> nn.Module:
    """A ResNet-18 that knows `targets` [N] from changed pictures of the people."""
    latents, _ = people(size)
    torch.manual_seed(2)
    classes = int(targets.max()) + 1
    model = resnet18(classes, size.stages).to(latents.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = one_cycle(optimizer, 2e-3, steps, warm_up=0.15)
    hits = 0.0
    for step in range(steps):
        rows = torch.randint(len(latents), (size.batch,))
        with torch.no_grad():
            # Nobody looks quite the same on two pictures.
            w = latents[rows] + 0.1 * size.spread * torch.randn(size.batch, size.latent_dim)
            images = augment(g.synthesize(w).clamp(-1, 1), AugmentConfig())
        logits = model(images)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits, targets[rows]).backward()
        optimizer.step()
        schedule.step()
        hits += ((logits.argmax(1) == targets[rows]).float().mean().item() - hits) / min(
            step + 1, 20
        )
        if (step + 1) % 50 == 0 or step + 1 == steps:
            print(f"  {classes} classes, step {step + 1} of {steps}: {hits:.0%}", flush=True)
    return model.eval().requires_grad_(False)


def stand_in(folder: Path, size: StandIn | None = None, device: str = "cpu") -> WalkNetworks:
    """The second networks, made and trained if they are not in `folder` yet."""
    size = size or StandIn()
    g = scanner(size)
    latents, labels = people(size)
    targets = {"identity": torch.arange(size.people), "classifier": labels}
    steps = {"identity": size.identity_steps, "classifier": size.class_steps}
    guides: dict[str, nn.Module] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for role, wanted in targets.items():
        path = folder / f"{role}.pt"
        if path.exists():
            guides[role] = resnet18(int(wanted.max()) + 1, size.stages)
            guides[role].load_state_dict(torch.load(path, weights_only=True))
            guides[role].eval().requires_grad_(False)
        else:
            guides[role] = train_guide(size, g, wanted, steps[role])
            torch.save(guides[role].state_dict(), path)
    networks = Networks(*(network.to(device) for network in (g, *guides.values())))
    path = folder / "surrogate.safetensors"
    if not path.exists():
        print("  surrogate: about as long as 200 fast walks and 250,000 images take", flush=True)
        began = time.perf_counter()
        made = train_surrogate(
            networks, latents.to(device), labels.to(device), config=size.surrogate
        )
        save_surrogate(path, made, notes={"seconds": time.perf_counter() - began})
    surrogate, seconds = _open_surrogate(path, networks, device)

    def make_ends(paths: int) -> Ends:
        source = torch.Generator().manual_seed(4)
        classes = torch.arange(paths) % 2
        ends = []
        for label in classes.tolist():
            members = torch.nonzero(labels == label)[:, 0]
            drawn = members[torch.randperm(len(members), generator=source)[:10]]
            ends.append(latents[drawn].view(2, -1, size.latent_dim).mean(1))
        start, end = torch.stack(ends).unbind(1)
        return start.to(device), end.to(device), classes.to(device)

    return WalkNetworks(
        networks.generator,
        networks.identity,
        networks.classifier,
        surrogate,
        name="resnet64",
        make_ends=make_ends,
        make_latents=lambda: (latents.to(device), labels.to(device)),
        training_seconds=seconds,
    )
