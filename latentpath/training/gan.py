"""Training a StyleGAN2 generator on a small labelled set.

Non-saturating logistic loss (Goodfellow et al., 2014), lazy R1 (Mescheder et al., ICML 2018;
Karras et al., CVPR 2020), exponential moving average of the generator's weights, and
augmentation with an adaptive probability (Karras et al., NeurIPS 2020).
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import DataError, Progress, check_at_least, place, seeded, silent
from latentpath.generators import Precision, StyleGAN2
from latentpath.training.augmentation import augment
from latentpath.training.checkpoint import Checkpointer, fingerprint
from latentpath.training.discriminator import Discriminator
from latentpath.training.generator_config import GeneratorConfig
from latentpath.training.growing import grow_discriminator, grow_generator
from latentpath.training.pretrained import Pretrained, as_pretrained, config_of
from latentpath.training.training_steps import Figures, fused_on


class Snapshot(Protocol):
    """Keeps something of a training's present state, such as a sheet of images."""

    every: int
    """Images between two that are kept."""

    def __call__(self, generator: StyleGAN2, images_seen: int, keep: bool) -> None:
        """Look at the moving average; `keep` where a multiple of `every` was passed."""


class _Gan:
    """The networks, optimisers and counters of one run."""

    def __init__(
        self,
        images: Tensor,
        num_classes: int,
        config: GeneratorConfig,  # without open sizes
        initial: Pretrained | None = None,
    ) -> None:
        self.config = config
        _, channels, resolution, _ = images.shape
        c_dim = num_classes if config.conditional else 0
        widths = {"channel_base": config.channel_base, "channel_max": config.channel_max}
        # What a generator has beyond the sizes, such as another activation, stays its own.
        more = {} if initial is None else initial.generator.init_kwargs
        layers = {"num_layers": config.mapping_layers}
        self.generator = StyleGAN2(
            z_dim=config.z_dim,
            c_dim=c_dim,
            w_dim=config.w_dim,
            img_resolution=resolution,
            img_channels=channels,
            mapping_kwargs={**more.get("mapping_kwargs", {}), **layers},
            synthesis_kwargs={**more.get("synthesis_kwargs", {}), **widths},
        )
        self.discriminator = Discriminator(c_dim, resolution, channels, **widths)
        average = copy.deepcopy(self.generator)
        if initial is not None:
            self._start_from(initial, average)
        for network in (self.generator, self.discriminator, average):
            place(network, images.device)
        self.ema = average.eval().requires_grad_(False)
        if images.device.type != "cpu":
            # What is prepared for fused kernels would be made anew after every step.
            self.generator.synthesis.fused = False
        lazy, fused = config.r1_interval / (config.r1_interval + 1), fused_on(images.device)
        self.optimizer_g = torch.optim.Adam(
            self.generator.parameters(), config.lr, betas=(0.0, 0.99), eps=1e-8, fused=fused
        )
        self.optimizer_d = torch.optim.Adam(
            self.discriminator.parameters(),
            config.lr * lazy,
            betas=(0.0, 0.99**lazy),
            eps=1e-8,
            fused=fused,
        )
        self.precision = Precision.of(config.precision)
        self.counters: dict[str, int] = {"seen": 0, "step": 0}
        # Where the networks are, since what they depend on is known there first.
        p = 0.0 if initial is None else initial.augment
        self.p, self.sign = torch.tensor([p, 0.0], dtype=torch.float64, device=images.device)
        self._from_scratch = initial is None

    def _start_from(self, initial: Pretrained, average: StyleGAN2) -> None:
        state = initial.generator.state_dict()
        # One start for the layers that are new to both.
        grow_generator(average, state)
        grow_generator(self.generator, {**average.state_dict(), **(initial.raw or state)})
        if initial.discriminator is not None:
            grow_discriminator(self.discriminator, initial.discriminator)

    def state(self) -> dict[str, float]:
        """The counters, and what augmentation goes by."""
        p, sign = torch.stack([self.p, self.sign]).tolist()
        return {**self.counters, "p": p, "sign": sign}

    def load(self, state: dict[str, float]) -> None:
        """Go on from there."""
        self.counters = {name: int(state[name]) for name in self.counters}
        self.p, self.sign = (self.p.new_tensor(state[name]) for name in ("p", "sign"))

    def parts(self) -> dict[str, Any]:
        """Everything with a state_dict."""
        names = ("generator", "discriminator", "ema", "optimizer_g", "optimizer_d")
        return {name: getattr(self, name) for name in names}

    def fake(self, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Generated images for `labels`, with their one-hot labels."""
        c_dim = self.generator.c_dim
        c = F.one_hot(labels, c_dim).float() if c_dim else None
        z = torch.randn(len(labels), self.config.z_dim, device=labels.device)
        w = self.generator.mapping(z, c)
        with self.precision.on(z.device):
            return self.generator.synthesis(w), c

    def judge(self, images: Tensor, c: Tensor | None) -> Tensor:  # -> [M]
        """The discriminator's logits, in float32."""
        with self.precision.on(images.device):
            logits: Tensor = self.discriminator(images, c)
        return logits.float()

    def augment(self, images: Tensor) -> Tensor:
        """Augmentation at the present probability."""
        on_cpu = images.device.type == "cpu"
        return augment(images, self.config.augment, float(self.p) if on_cpu else self.p)

    def step(self, real: Tensor, labels: Tensor) -> Figures:  # [batch, ...], [3, batch]
        """One update of both networks; `labels` are those of real images and of two fakes."""
        # Also what is computed backward.
        with self.precision.products(real.device):
            loss_d = self.step_discriminator(real, *labels[:2])
            loss_g = self.step_generator(labels[2])
        self.counters["seen"] += self.config.batch
        self.counters["step"] += 1
        return Figures(loss_g=loss_g, loss_d=loss_d, augment=self.p)

    def step_discriminator(self, real: Tensor, labels: Tensor, fake_labels: Tensor) -> Tensor:
        """One update of the discriminator, with R1 where it is due; returns its loss."""
        with torch.no_grad():
            fake, c_fake = self.fake(fake_labels)
            fake, real = self.augment(fake), self.augment(real)
        c = F.one_hot(labels, self.generator.c_dim).float() if self.generator.c_dim else None
        logits_real = self.judge(real, c)
        loss = F.softplus(self.judge(fake, c_fake)).mean() + F.softplus(-logits_real).mean()
        self.optimizer_d.zero_grad(set_to_none=True)
        loss.backward()
        if self.counters["step"] % self.config.r1_interval == 0:
            real = real.requires_grad_()
            (slope,) = torch.autograd.grad(self.judge(real, c).sum(), real, create_graph=True)
            weight = self.config.r1_gamma / 2 * self.config.r1_interval
            (slope.square().sum(dim=[1, 2, 3]).mean() * weight).backward()
        _drop_bad_gradients(self.discriminator)
        self.optimizer_d.step()
        self._adapt(logits_real.detach().sign().mean(), len(real))
        return loss.detach()

    def step_generator(self, labels: Tensor) -> Tensor:
        """One update of the generator and of its moving average; returns its loss."""
        self.discriminator.requires_grad_(False)
        fake, c = self.fake(labels)
        loss = F.softplus(-self.judge(self.augment(fake), c)).mean()
        self.optimizer_g.zero_grad(set_to_none=True)
        loss.backward()
        self.discriminator.requires_grad_(True)
        _drop_bad_gradients(self.generator)
        self.optimizer_g.step()
        half_life = float(self.config.ema_images)
        if self._from_scratch:
            # Early on the average must be able to follow: its half-life grows with what was seen.
            half_life = min(half_life, 0.05 * self.counters["seen"] + 1)
        decay = 0.5 ** (len(labels) / half_life)
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.ema.parameters()), list(self.generator.parameters()), 1 - decay
            )
            for target, source in zip(self.ema.buffers(), self.generator.buffers(), strict=True):
                target.copy_(source)
        return loss.detach()

    def _adapt(self, sign: Tensor, batch: int) -> None:
        self.sign = self.sign + 0.05 * (sign.double() - self.sign)
        direction = 2.0 * (self.sign > self.config.ada_target).double() - 1.0
        self.p = (self.p + direction * batch / self.config.ada_images).clamp(0.0, 0.9)


def train_generator(
    images: Tensor,  # [n, C, H, H] in [-1, 1]
    labels: Tensor,  # [n]
    *,
    num_classes: int,
    config: GeneratorConfig | None = None,
    initial: Pretrained | StyleGAN2 | None = None,
    checkpoint: str | Path | None = None,
    snapshot: Snapshot | None = None,
    progress: Progress = silent,
) -> StyleGAN2:
    """Train a generator on labelled images and return its moving average, in eval mode.

    With `initial`, training starts from that generator: fine-tuning where it is of the images'
    resolution, growing where it is of a smaller one (see `latentpath.training.growing`).

    Args:
        images: square images, float in [-1, 1], the side a power of two.
        labels: class of each image, 0 to num_classes - 1.
        num_classes: number of classes.
        config: sizes and schedule.
        initial: a generator to start from, or what `load_pretrained` made of its file, which knows
            its discriminator, too; without one, the discriminator starts afresh. Sizes that
            `config` leaves open (0) are this generator's.
        checkpoint: file to continue from and to save to about once a minute and at the end; a
            run that has ended can be lengthened by a larger `total_images`.
        snapshot: shown the moving average before every save, and at every multiple of
            `snapshot.every` images; it may change nothing, random states included.
        progress: told after every step.

    Raises:
        DataError: images or labels of the wrong shape.
        InputError: `initial` is no StyleGAN2.
        WeightsError: `checkpoint` belongs to another run; or `initial` does not fit the images or
            `config`.
    """
    config = config or GeneratorConfig()
    check_training_images(images, labels, num_classes)
    if images.shape[2] != images.shape[3] or images.shape[2] & (images.shape[2] - 1):
        raise DataError(
            expected="square images whose side is a power of two",
            got=f"{images.shape[3]}x{images.shape[2]}",
            fix="resize them first, or pass --resolution",
        )
    start = None if initial is None else as_pretrained(initial)
    _, channels, resolution, _ = images.shape
    if start is None:
        config = config.sized(resolution)
    else:
        config = config_of(
            start, config, resolution=resolution, channels=channels, num_classes=num_classes
        )
    check_at_least(resolution, channel_base=config.channel_base)
    with seeded(config.seed, images.device):
        saver = Checkpointer(
            checkpoint,
            config=config,
            data=fingerprint(images, labels),
            lengthened="total_images",
            initial=None if start is None else start.checksum,
            position=lambda state: f"{int(state['counters']['seen']):,} images",
            ended=lambda state: int(state["counters"]["seen"]) >= config.total_images,
        )
        gan = _Gan(images, num_classes, config, start)
        if (saved := saver.load()) is not None:
            gan.load(saved["counters"])
            for name, part in gan.parts().items():
                part.load_state_dict(saved[name])
        _run(gan, images, labels, saver, snapshot, progress)
    return gan.ema


def _run(
    gan: _Gan,
    images: Tensor,
    labels: Tensor,
    saver: Checkpointer,
    snapshot: Snapshot | None,
    progress: Progress,
) -> None:
    counters, config = gan.counters, gan.config
    while counters["seen"] < config.total_images:
        rows = torch.randint(len(images), (3, config.batch), device=images.device)
        figures = gan.step(images[rows[0]], labels[rows])
        seen = min(counters["seen"], config.total_images)
        progress("generator", seen, config.total_images, figures)
        due = saver.due() or counters["seen"] >= config.total_images
        if snapshot is not None:
            counted = counters["seen"]
            passed = counted // snapshot.every > (counted - config.batch) // snapshot.every
            if due or passed:
                snapshot(gan.ema, counted, passed)
        if due:
            states = {name: part.state_dict() for name, part in gan.parts().items()}
            saver.save({"counters": gan.state(), **states})


def _drop_bad_gradients(network: nn.Module) -> None:
    for parameter in network.parameters():
        if parameter.grad is not None:
            parameter.grad.nan_to_num_(nan=0.0, posinf=1e5, neginf=-1e5)


def check_training_images(images: Tensor, labels: Tensor, num_classes: int) -> None:
    """Raise DataError unless images [n, C, H, W] and labels [n] can be trained on."""
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise DataError(
            expected="images [n, C, H, W] with 1 or 3 channels",
            got=str(list(images.shape)),
            fix="convert them with latentpath.data.to_tensor",
        )
    if labels.shape != images.shape[:1]:
        raise DataError(
            expected=f"one label per image, [{len(images)}]",
            got=str(list(labels.shape)),
            fix="pass one class number per image",
        )
    if not torch.isfinite(images).all():
        raise DataError(
            expected="finite pixel values",
            got="NaN or infinity",
            fix="remove or repair these images",
        )
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise DataError(
            expected=f"labels from 0 to {num_classes - 1}",
            got=f"{int(labels.min())} to {int(labels.max())}",
            fix="renumber the classes or raise num_classes",
        )
