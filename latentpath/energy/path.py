"""The energy of batches of paths, its terms, and its gradient."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from latentpath import ops
from latentpath.core import (
    LARGEST,
    InputError,
    LatentpathWarning,
    ShapeError,
    check_finite,
    check_whole,
    check_within,
    evaluating,
    tf32_allowed,
)
from latentpath.energy.batches import (
    SMALL_BATCH,
    CudaGraphed,
    MicroBatch,
    first_guess,
    fitting_size,
    saved_bytes,
    small_is_enough,
    without_owner,
)
from latentpath.energy.classifier_folding import ChannelMatch
from latentpath.energy.classifier_forms import (
    as_image_model,
    check_gradients,
    gradient,
    images_of,
    logits_of,
)
from latentpath.energy.guides import ClassGuide, IdentityGuide
from latentpath.generators import Precision, PrecisionName
from latentpath.models import Networks

PUBLISHED_POINTS = 50
"""Points of the published paths, both ends counted."""


@dataclass(frozen=True)
class EnergyWeights:
    """How much each term counts; the published values are the defaults."""

    smoothness: float = 1.0
    """Weight of the squared distances between consecutive points."""
    identity: float = 0.1
    """Weight of the repulsion from real people."""
    classification: float = 1.0
    """Weight of class consistency."""

    def __post_init__(self) -> None:
        check_finite(**vars(self))
        check_within(-LARGEST, LARGEST, **vars(self))

    def for_points(self, points: int) -> EnergyWeights:
        """Weights under which a curve of `points` points has each energy's share of one of 50.

        Over T points of one curve squared distances sum to about 1 / (T - 1), guides to T - 1.
        """
        share = ((points - 1) / (PUBLISHED_POINTS - 1)) ** 2
        return replace(self, smoothness=self.smoothness * share)


@dataclass(frozen=True)
class EnergyTerms:
    """The terms of the energy of each path, [B], before their weights, and their weighted sum."""

    smoothness: Tensor
    """Sum of squared distances between consecutive points."""
    identity: Tensor
    """Sum over the points of a_t times the KL divergence from uniform, in nats."""
    classification: Tensor
    """Sum over the points of a_t times the cross-entropy, in nats."""
    total: Tensor
    """The weighted sum, which the solver lowers."""

    def __getitem__(self, index: int | slice | Tensor) -> EnergyTerms:
        return EnergyTerms(*(getattr(self, name)[index] for name in self.names()))

    @staticmethod
    def names() -> tuple[str, ...]:
        """The terms in their order."""
        return ("smoothness", "identity", "classification", "total")

    @classmethod
    def stack(cls, paths: Sequence[EnergyTerms]) -> EnergyTerms:
        """The terms of single paths, [] each, as those of a batch, [B]."""
        return cls(*(torch.stack([getattr(p, name) for p in paths]) for name in cls.names()))

    def as_dict(self) -> dict[str, list[float]]:
        """Plain numbers, one list per term."""
        return {name: getattr(self, name).tolist() for name in self.names()}


@dataclass(frozen=True)
class PointTerms:
    """What single points are to the classifiers, [M] each, in float32."""

    identity: Tensor
    """KL divergence from uniform, in nats."""
    classification: Tensor
    """Cross-entropy, in nats."""
    largest: Tensor
    """Largest probability that the identity classifier gives one person."""
    predicted: Tensor
    """Class that the class classifier takes it for."""


class PathEnergy:
    """The energy of batches of paths under one generator and two classifiers.

    Args:
        networks: the generator, with the methods of `latentpath.generators.Generator` (see
            `Networks.for_latents`), and the two classifiers.
        weights: weights of the terms.
        micro_batch: points that go through the networks together; bounds the memory, and is halved
            where that is not enough. 0 measures what a point takes and chooses by device: see
            `batches.fitting_size`.
        split_head: see `IdentityGuide`.
        precision: what the networks compute in for `guide_gradient`: a `Precision` or its name.
            `terms` computes in float32 unless asked otherwise.
        fixed_batches: give the networks `micro_batch` points every time, the last ones filled up
            with copies, or few of them 16 at a time where that was seen to give the same bits.
            Then a point's gradient is the same, bit for bit, whatever points go with it, as far as
            the matrix products keep that: on CPUs with a `micro_batch` that is a multiple of 8 and
            layers of more than 10 features.
        memory_budget: bytes that a micro-batch may take where `micro_batch` is 0; 0 takes half of
            what is free.
        compile: name of a `torch.compile` backend for the networks, such as "inductor".
        cuda_graphs: record the gradient of a micro-batch once and replay it, on CUDA devices;
            makes `fixed_batches`. The networks must not change afterwards. "where possible" does
            without, with a warning, where a network cannot be recorded.
        fold_norms: run the classifiers with batch normalisations that are part of the convolutions
            before them, and those by fewer multiplications where that is faster: the same but for
            rounding. They must not change afterwards.

    One-channel images are repeated to three for a classifier that takes three, as the published
    code does; see `ChannelMatch`.
    """

    def __init__(
        self,
        networks: Networks,
        *,
        weights: EnergyWeights | None = None,
        micro_batch: int = 0,
        split_head: bool | None = None,
        precision: Precision | PrecisionName = "float32",
        fixed_batches: bool = False,
        memory_budget: int = 0,
        compile: str | None = None,
        cuda_graphs: bool | Literal["where possible"] = False,
        fold_norms: bool = False,
    ) -> None:
        check_whole(0, micro_batch=micro_batch, memory_budget=memory_budget)
        self.precision = Precision.of(precision)
        self.fixed_batches = fixed_batches or bool(cuda_graphs)
        self.networks, self.weights = networks, weights or EnergyWeights()
        self.micro_batch, self.memory_budget = micro_batch, memory_budget
        self._inputs = [
            ChannelMatch(as_image_model(model), fold_norms=fold_norms)
            for model in (networks.identity, networks.classifier)
        ]
        self._split_head = split_head
        self._guides: tuple[IdentityGuide, ClassGuide] | None = None
        self._sizes: dict[torch.device, int] = {}
        self._gradients_flow = False
        # Whether small batches give the same bits as those of the usual size, by what is computed.
        self._same_bits: dict[str, bool] = {}
        self._recorded = bool(cuda_graphs) or compile is not None
        self._energies = (
            torch.compile(self._energy, backend=compile) if compile else without_owner(self._energy)
        )
        self._slopes = without_owner(self._slope)
        if cuda_graphs:
            self._slopes = CudaGraphed(self._slope, may_fail=cuda_graphs == "where possible")

    def images(self, points: Tensor) -> Tensor:  # [M, D] -> [M, C, H, H]
        """The generator's images, clamped to [-1, 1]."""
        return images_of(self.networks.generator, points)

    def _find_guides(self, image: Tensor, labels: Tensor) -> None:
        """What the classifiers take shows with a first image [1, C, H, W]."""
        image, kind = image.detach(), image.device.type
        # Forms of a network are compared: in float32, whatever the gradients are taken in.
        with torch.no_grad(), torch.autocast(kind, enabled=False), tf32_allowed(False, kind):
            for match in self._inputs:
                match.look(image)
            identity, classifier = (match.model for match in self._inputs)
            logits = logits_of(classifier, self._inputs[1](image))
        self._guides = (
            IdentityGuide(identity, split_head=self._split_head),
            ClassGuide(classifier, num_classes=logits.shape[1]),
        )
        self._check_labels(labels)

    def _check_labels(self, labels: Tensor) -> None:
        if self._guides is not None:
            self._guides[1].check_labels(labels)

    def _per_image(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Identity and class energies, [M] each, for labels that were checked."""
        assert self._guides is not None
        identity, classifier = self._guides
        for_identity, for_class = self._inputs
        return (
            identity.energy(for_identity(images)),
            classifier.energy(for_class(images), labels),
        )

    def _energy(self, points: Tensor, labels: Tensor) -> Tensor:  # [M, D], [M] -> [M]
        identity, classification = self._per_image(self.images(points), labels)
        return self.weights.identity * identity + self.weights.classification * classification

    def _slope(self, points: Tensor, labels: Tensor, point_weights: Tensor) -> Tensor:
        """The gradient of one micro-batch, with the energies as a last column: [size, D + 1]."""
        w = points.detach().requires_grad_()
        with self.precision.on(w.device):
            energy = self._energies(w, labels)
        return self._with_energy(energy, point_weights, w)

    def _with_energy(self, energy: Tensor, point_weights: Tensor, w: Tensor) -> Tensor:
        slope = self._scaled_gradient(point_weights * energy, w)
        return torch.cat([slope, energy.detach().to(slope.dtype)[:, None]], dim=1)

    def _scaled_gradient(self, energy: Tensor, w: Tensor) -> Tensor:
        # Float16 holds no small gradients; they are scaled up on their way back.
        scale = 1024.0 if self.precision.dtype(w.device) == torch.float16 else 1.0
        slope = gradient(scale * energy, w, keep=False)
        return torch.zeros_like(w) if slope is None else slope / scale

    def _first_slope(self, batch: MicroBatch, labels: Tensor) -> Tensor:
        """The same once, with a look at everything: `labels` are those of all points.

        An energy that stands still would leave a path as private as it was, silently.
        """
        w, weights = batch.points.detach().requires_grad_(), self.weights
        with self.precision.on(w.device):
            images = self.images(w)
            if self._guides is None:
                self._find_guides(images[:1], labels)
            identity, classification = self._per_image(images, batch.labels)
        if weights.identity != 0 or weights.classification != 0:
            check_gradients(generator=gradient(images, w))
        if weights.identity != 0:
            check_gradients(identity_classifier=gradient(identity, images))
        if weights.classification != 0:
            check_gradients(class_classifier=gradient(classification, images))
        self._gradients_flow = True
        energy = weights.identity * identity + weights.classification * classification
        return self._with_energy(energy, batch.weights, w)

    def guide_gradient(
        self,
        points: Tensor,  # [M, D]
        labels: Tensor,  # [M]
        point_weights: Tensor,  # [M]
        energies: Tensor | None = None,  # [M]
        *,
        known_labels: bool = False,
    ) -> Tensor:  # [M, D]
        """Gradient of the weighted identity and class terms with respect to the points.

        `energies`, where given, is filled with the sum of the two terms of each point, before
        `point_weights`, as the gradient's precision has it. `known_labels` says that `terms` has
        had these labels: looking at them again would make the processor wait for a GPU.

        Raises:
            InputError: no gradient flows through the generator or through a classifier that
                counts, labels that the classifier does not know, or inference mode is on, which
                records no gradient.
            UnsupportedError: `cuda_graphs` elsewhere than on a CUDA device.
        """
        if torch.is_inference_mode_enabled():
            raise InputError(
                expected="a walk outside torch.inference_mode(), which records no gradients",
                got="inference mode",
                fix="leave it for this call; torch.no_grad() does no harm",
            )
        result = torch.empty_like(points)

        def work(batch: MicroBatch) -> Tensor:  # -> [size, D + 1]
            if self._gradients_flow:
                return self._slopes(batch.points, batch.labels, batch.weights)
            return self._first_slope(batch, labels)

        def keep(rows: slice, slope: Tensor) -> None:
            result[rows] = slope[:, :-1]
            if energies is not None:
                energies[rows] = slope[:, -1]

        products = self.precision.products(points.device)
        with evaluating(self.networks.modules()), torch.enable_grad(), products:
            if not known_labels:
                self._check_labels(labels)
            self._over(points, labels, point_weights, work, keep, "gradient", measure=True)
        return result

    @torch.no_grad()
    def terms(
        self,
        path: Tensor,  # [B, T, D]
        labels: Tensor,  # [B]
        point_weights: Tensor | None = None,  # [T]
        eps_distance: float = 0.0,
        *,
        precision: Precision | PrecisionName = "float32",
        known_labels: bool = False,
    ) -> EnergyTerms:
        """The true energy of each path; points of weight zero are not looked at.

        `eps_distance` is added to every coordinate difference before squaring; the published
        code's pairwise distance adds 1e-6. `known_labels` is as in `guide_gradient`. Labels and
        point weights may lie on the processor: what is to be known of them waits for no GPU then.
        """
        b, t, d = path.shape
        a = torch.ones(t) if point_weights is None else point_weights
        counted = a.nonzero()[:, 0]
        a = a[counted].to(path.device)
        points = path[:, counted.to(path.device)].reshape(-1, d)
        per_point = labels.repeat_interleave(len(counted)).to(path.device)
        identity = torch.empty(len(points), device=path.device)
        classification = torch.empty_like(identity)

        def work(batch: MicroBatch) -> Tensor:  # -> [size, 2]
            images = self.images(batch.points)
            if self._guides is None:
                self._find_guides(images[:1], labels)
            return torch.stack(self._per_image(images, batch.labels), dim=1)

        def keep(rows: slice, found: Tensor) -> None:
            identity[rows], classification[rows] = found.unbind(dim=1)

        chosen = Precision.of(precision)
        with evaluating(self.networks.modules()), chosen.on(points.device):
            if not known_labels:
                self._check_labels(labels)
            ones = torch.ones_like(identity)
            self._over(points, per_point, ones, work, keep, f"terms in {chosen.name}")
        smoothness = (path[:, :-1] - path[:, 1:] + eps_distance).square().sum(dim=[1, 2])
        identity = (identity.view(b, -1) * a).sum(dim=1)
        classification = (classification.view(b, -1) * a).sum(dim=1)
        weights = self.weights
        total = (
            weights.smoothness * smoothness
            + weights.identity * identity
            + weights.classification * classification
        )
        return EnergyTerms(smoothness, identity, classification, total)

    @torch.no_grad()
    def point_terms(self, points: Tensor, labels: Tensor) -> PointTerms:  # [M, D], [M]
        """Each point by itself: its true energies, and what the classifiers take it for."""
        rows: list[Tensor] = []

        def work(batch: MicroBatch) -> Tensor:  # -> [size, 4]
            images = self.images(batch.points)
            if self._guides is None:
                self._find_guides(images[:1], labels)
            assert self._guides is not None
            models = (guide.model for guide in self._guides)
            inputs = (match(images) for match in self._inputs)
            people, classes = map(logits_of, models, inputs)
            log_p = people.log_softmax(dim=1)
            terms = (
                ops.kl_uniform(people),
                F.cross_entropy(classes, batch.labels, reduction="none"),
                log_p.amax(dim=1).exp(),
                classes.argmax(dim=1).to(people.dtype),
            )
            return torch.stack(terms, dim=1)

        def keep(_: slice, found: Tensor) -> None:
            rows.append(found)

        with evaluating(self.networks.modules()), Precision.of("float32").on(points.device):
            self._check_labels(labels)
            ones = torch.ones(len(points), device=points.device)
            self._over(points, labels, ones, work, keep, "terms of points")
        columns = torch.cat(rows) if rows else points.new_empty(0, 4)
        identity, classification, largest, predicted = columns.unbind(dim=1)
        return PointTerms(identity, classification, largest, predicted.long())

    @torch.no_grad()
    def measured(
        self, points: Tensor, measure: Callable[[Tensor], Tensor]
    ) -> Tensor:  # [M, D] -> [M]
        """What `measure` says of each point's image: images [m, C, H, W] to numbers [m].

        Raises:
            ShapeError: it returns anything but one number per image.
        """
        rows: list[Tensor] = []

        def work(batch: MicroBatch) -> Tensor:  # -> [size]
            values = measure(self.images(batch.points))
            if not isinstance(values, Tensor) or values.shape != batch.points.shape[:1]:
                raise ShapeError(
                    expected=f"a measure that returns [{len(batch.points)}], one number per image",
                    got=str(list(values.shape))
                    if isinstance(values, Tensor)
                    else str(type(values)),
                    fix="return a tensor of one axis",
                )
            return values

        def keep(_: slice, found: Tensor) -> None:
            rows.append(found)

        ones = torch.ones(len(points), device=points.device)
        with evaluating(self.networks.modules()), Precision.of("float32").on(points.device):
            self._over(points, ones, ones, work, keep, "")  # whatever it is that measures
        return torch.cat(rows) if rows else points.new_empty(0)

    def _over(
        self,
        points: Tensor,
        labels: Tensor,
        point_weights: Tensor,
        work: Callable[[MicroBatch], Tensor],  # -> [size, ...]
        keep: Callable[[slice, Tensor], None],
        kind: str,
        *,
        measure: bool = False,
    ) -> None:
        """`work` on all points, batch by batch, and `keep` what it says of each batch's points.

        With fixed batches the last points go in small ones, where that is less work and `work`,
        of this `kind`, was seen to say the same of them, bit for bit.

        Where no size was given, the first gradient's batch has a guessed one and shows what a
        point takes. Where the memory turns out too small a size is halved.
        """
        device, first = points.device, 0
        while first < len(points):
            known = self.micro_batch or self._sizes.get(device)
            size = known or first_guess(self.networks.generator.img_resolution, device)
            batch = MicroBatch.of(points, labels, point_weights, first, size)
            few = self.fixed_batches and known and kind and not self._recorded
            if few and small_is_enough(batch.count, size, device):
                if kind not in self._same_bits:
                    self._try_small(batch, size, work, keep, kind)
                    first = batch.rows.stop
                    continue
                if self._same_bits[kind]:
                    size = SMALL_BATCH
                    batch = batch.begun(size)
            batch = batch.filled(size) if self.fixed_batches else batch
            try:
                if known or not measure:
                    keep(batch.rows, work(batch)[: batch.count])
                else:
                    made: list[Tensor] = []
                    saved = saved_bytes(lambda: made.append(work(batch)))  # noqa: B023 (at once)
                    keep(batch.rows, made[0][: batch.count])
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                self._halve(device, size)
                continue
            if measure and not known:
                per_point = max(1, saved // len(batch.points))
                self._sizes[device] = fitting_size(per_point, device, self.memory_budget)
                if self.fixed_batches:  # this batch, too, has the size of all others
                    continue
            first = batch.rows.stop

    def _try_small(
        self,
        batch: MicroBatch,
        size: int,
        work: Callable[[MicroBatch], Tensor],
        keep: Callable[[slice, Tensor], None],
        kind: str,
    ) -> None:
        """Work on few points in a batch of the usual size and in a small one, and compare the bits.

        What a kernel does depends on shapes and not on values: where all rows agree, whatever
        their place, these networks give the same in small batches on this machine.
        """
        usual = batch.repeated(size)
        found = work(usual)
        small = work(usual.begun(SMALL_BATCH))
        again = found[torch.arange(size, device=found.device) % batch.count]
        self._same_bits[kind] = torch.equal(small, found[:SMALL_BATCH]) and torch.equal(
            found, again
        )
        keep(batch.rows, found[: batch.count])

    def _halve(self, device: torch.device, size: int) -> None:
        """Go on with half as many points, which a walk of hours should rather do than end."""
        self._same_bits.clear()  # they were compared with those of the larger size
        if isinstance(self._slopes, CudaGraphed):
            self._slopes.forget()
        if not self.micro_batch:
            self._sizes[device] = size // 2
            return
        self.micro_batch = size // 2
        warnings.warn(
            f"{size} points at a time are too many for the memory of {device}: on with "
            f"{size // 2}, and with other last bits in some results",
            LatentpathWarning,
            stacklevel=2,
        )
