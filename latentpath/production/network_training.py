"""`latentpath train`: one network of a weights folder, from a data set to its file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentpath._version import __version__
from latentpath.core import (
    DataError,
    InputError,
    Progress,
    Say,
    StoppedError,
    WeightsError,
    check_at_least,
    check_extra,
    option,
    place,
    silent,
    stop_request,
    stoppable,
    unsaid,
)
from latentpath.data import NOT_JUDGED, ImageSet, to_tensor, validation_people
from latentpath.generators import (
    build,
    load_generator,
    read_weights,
    save_generator,
    save_weights,
)
from latentpath.models import (
    Encoder,
    PathPredictor,
    Surrogate,
    encode,
    predict,
    save_path_predictor,
    save_surrogate,
)
from latentpath.production.bundle import FILES, NEEDED, load_bundle, people_fingerprint
from latentpath.production.judgement import JudgedFigure, note_figures
from latentpath.production.network_judging import (
    GeneratorJudge,
    judge_classifier,
    judge_encoder,
    judge_identity,
)
from latentpath.production.prepared_endpoints import at_resolution
from latentpath.production.produce_config import WalkOptions
from latentpath.production.sample_sheets import SampleSheets
from latentpath.production.walking import choose_metric
from latentpath.similarity import LPIPS
from latentpath.training import (
    Pretrained,
    evaluate_predictor,
    evaluate_surrogate,
    read_checkpoint,
    train_classifier,
    train_encoder,
    train_generator,
    train_predictor,
    train_surrogate,
)

# The names of sheets count thousands.
_LEAST_SHEET_IMAGES = 1000
# StyleGAN2's layers are defined up to 1024; two octaves more leave room.
_LARGEST_SIDE = 4096

# Networks that do not have to know everybody.
WITHOUT_HELD_OUT = ("generator", "classifier")

Trained = tuple[nn.Module, dict[str, float]]


@dataclass(frozen=True)
class _Job:
    """What every network is trained from.

    Attributes:
        data: the images that it is trained on.
        images: the same as a tensor [n, C, H, H] on the device.
        others: images of held-out people; None where nobody is held out.
        out: the weights folder.
        config: of the training.
        checkpoint: its file.
        progress: told after every step.
        judge: of generators, where people are held out.
        initial: what a generator starts from.
        sheet_images: images between two sheets of a generator's samples.
    """

    data: ImageSet
    images: Tensor
    others: ImageSet | None
    out: Path
    config: Any
    checkpoint: Path
    progress: Progress
    judge: GeneratorJudge | None = None
    initial: Pretrained | None = None
    sheet_images: int = 0

    @property
    def device(self) -> torch.device:
        return self.images.device

    @property
    def labels(self) -> Tensor:
        return torch.as_tensor(self.data.labels, device=self.device)

    @property
    def people(self) -> Tensor:
        return torch.as_tensor(self.data.identities, device=self.device)

    @property
    def held_out(self) -> tuple[Tensor, Tensor] | None:
        """Images and labels of the held-out people."""
        if self.others is None:
            return None
        pixels = to_tensor(self.others.images).to(self.device)
        return pixels, torch.as_tensor(self.others.labels, device=self.device)


def train_network(
    network: str,
    data: ImageSet,
    out: str | Path,
    *,
    config: Any,
    resolution: int = 0,
    initial: Pretrained | None = None,
    sheet_images: int = 0,
    half: bool = False,
    validation: float = 0.1,
    asked: Mapping[str, Any] | None = None,
    trial: bool = False,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
    say: Say | None = None,
) -> str:
    """Train one network and write its weights into the folder `out`.

    A checkpoint `<network>.checkpoint` lies beside the weights; the same command continues from
    it after an interruption, and lengthens a finished generator with a larger `total_images`.

    Args:
        network: "generator", "encoder" (needs the generator in `out`), "identity", "classifier",
            "surrogate" or "predictor" (which need all of the others in `out`).
        data: the private set.
        out: the weights folder.
        config: `GeneratorConfig`, `EncoderConfig`, `IdentityConfig`, `ClassifierConfig`,
            `SurrogateConfig` or `PredictorConfig`.
        resolution: side of the images, pixels, a power of two; 0 takes that of the generator in
            `out`, or else the next power of two from the data's size.
        initial: what the generator starts from; its weights' notes will say so.
        sheet_images: a generator's training writes a sheet of its samples, `fakes000020.png` after
            20,000 images, each time it saw so many, and the present one, `generator.png`, at every
            checkpoint; 0 writes the last one alone.
        half: store weights as float16.
        validation: share of the people whom generator and class classifier never meet, 0 to 0.25,
            to judge the networks by and to keep the best weights; at least 20 people, and nobody
            where these are more than a quarter. 0 keeps nobody out.
        asked: noted in the weights: what somebody asked for who will compare it with what is asked
            for later.
        trial: noted in the weights: they are trained far too shortly, to see the way.
        device: where to train.
        progress: told after every step.
        say: shows the line that says where an interrupted training goes on; None shows none.

    Returns:
        A line that says what was written and how well it does, and lines on what is not as usual.
        The figures are stored in `judgement.json` beside the weights, where `produce` looks.

    Raises:
        StoppedError: Ctrl-C or SIGTERM asked to stop; the checkpoint holds the last step.
    """
    if network not in _TRAINERS:
        raise InputError(
            expected=f"a network out of {', '.join(_TRAINERS)}",
            got=repr(network),
            fix="choose one of these",
        )
    if initial is not None and network != "generator":
        raise InputError(
            expected="initial= for a generator alone",
            got=f"one to start {network} from",
            fix="leave it out",
        )
    check_validation(validation)
    if sheet_images:
        check_at_least(_LEAST_SHEET_IMAGES, sheet_images=sheet_images)
    check_extra("pipeline", "PIL", "monai", "safetensors", "torchmetrics")
    out = Path(out)
    _check_folder(out)
    check_classes(data)
    side = side_to_train_at(network, data, out, resolution)
    data = at_resolution(data, side)
    held_out = validation_people(data, validation)
    known = data
    if held_out is not None and network in WITHOUT_HELD_OUT:
        known = held_out.private
    others = None if held_out is None else held_out.others
    images = to_tensor(known.images).to(device)
    judge = None
    if network == "generator" and others is not None:
        lpips = LPIPS.load(images.device)
        judge = GeneratorJudge(known.images, known.labels, others.images, lpips)
    checkpoint = out / f"{network}.checkpoint"
    job = _Job(
        known, images, others, out, config, checkpoint, progress, judge, initial, sheet_images
    )
    with stoppable("this step, which is saved", say or unsaid) as stop:
        module, result = _TRAINERS[network](job)
        figures = _judged(network, module, job)
    if stop:  # while it was judged what a finished training is worth
        raise StoppedError(stop.number, "after training", "the same command goes on from there")
    notes: dict[str, Any] = {
        "software_version": __version__,
        "class_names": list(data.class_names),
        "images": len(known),
        "seed": config.seed,
        "result": result,
        "people": people_fingerprint(data),  # with those who were held out to judge it by
    }
    if asked is not None:
        notes["asked"] = dict(asked)
    if trial:
        notes["trial"] = True
    if initial is not None:
        notes["initial"] = initial.notes()
    path = out / FILES[network]
    if network == "generator":
        save_generator(path, module, notes=notes, half=half)
    elif isinstance(module, Surrogate):
        save_surrogate(path, module, notes=notes, half=half)
    elif isinstance(module, PathPredictor):
        save_path_predictor(path, module, notes=notes, half=half)
    else:
        save_weights(path, module, kind=network, config=module.config, notes=notes, half=half)  # type: ignore[arg-type]
    shown = ", ".join(f"{name} {value:.4g}" for name, value in result.items())
    line = f"weights: {path} ({path.stat().st_size / 1e6:.2f} MB; {shown})"
    people = 0 if others is None else others.num_identities
    count = 0 if others is None else len(others)
    reason = ""
    if not figures and network in NEEDED:
        alone = network == "classifier" and data.num_classes < 2
        unmet = "too_few_people" if validation else "nobody_held_out"
        reason = "one_class" if alone else unmet
    note_figures(out, network, path, figures, {"people": people, "images": count}, reason)
    for figure in figures:
        line += f"\njudged {figure.state_words}: {figure.words}"
    if reason:
        line += f"\nnot judged: {network}: {NOT_JUDGED[reason]}"
    elif others is None and validation and network in WITHOUT_HELD_OUT:
        line += (
            f"\nnot judged on people it has not met: of {data.num_identities:,} people too few can "
            "be held out"
        )
    if result.get("predicted energy ratio", 0.0) > 1:
        line += (
            f"\nstraight lines have lower energy than these paths: delete {path}, or train longer"
        )
    if result.get("walk energy ratio", 0.0) > 1:
        line += f"\nwalks end at lower energy without this surrogate: delete {path} to do without"
    return line


def kept_line(before: int, now: int) -> str:
    """What becomes of a generator of which a shorter training is asked than it had.

    Args:
        before: images that it saw.
        now: images that it is to see.
    """
    return (
        f"generator: kept as it is, trained on {before:,} images, more than the {now:,} that are "
        f"asked for; for a shorter training move {FILES['generator']} and generator.checkpoint away"
    )


def _generator(job: _Job) -> Trained:
    data, config = job.data, job.config
    total, seen = config.total_images, 0
    if job.checkpoint.exists():
        counters = read_checkpoint(job.checkpoint)["state"].get("counters", {})
        seen = int(counters.get("seen", 0))  # another kind's is refused when it is loaded
    if seen >= total + config.batch:  # an end of this length has seen fewer
        if (request := stop_request()) is not None:
            request.say(kept_line(seen, total))
        total = seen
    kid = None if job.judge is None else job.judge.kid
    sheets = SampleSheets(job.out, data.num_classes, config.seed, job.sheet_images, kid)
    if not job.checkpoint.exists():
        sheets.forget()
    generator = train_generator(
        job.images,
        job.labels,
        num_classes=data.num_classes,
        config=config,
        initial=job.initial,
        checkpoint=job.checkpoint,
        snapshot=sheets if job.sheet_images else None,
        progress=job.progress,
    )
    sheets(generator, total, keep=False)
    seen = sheets.restore_best(generator, total)
    return generator, {"images seen": float(seen)}


def _encoder(job: _Job) -> Trained:
    generator = load_generator(job.out / FILES["generator"], job.device)
    encoder = train_encoder(
        job.images,
        generator,
        config=job.config,
        checkpoint=job.checkpoint,
        progress=job.progress,
    )
    with torch.no_grad():
        errors = [
            (generator.synthesize(encode(encoder, part)).clamp(-1, 1) - part).square().mean()
            for part in job.images.split(256)
        ]
    return encoder, {"squared error": float(torch.stack(errors).mean())}


def _identity(job: _Job) -> Trained:
    return _trained_classifier(job, job.people, job.data.num_identities)


def _classifier(job: _Job) -> Trained:
    return _trained_classifier(job, job.labels, job.data.num_classes, job.held_out)


def _surrogate(job: _Job) -> Trained:
    bundle = load_bundle(job.out, job.device, without=("surrogate", "predictor"))
    bundle.check(job.data)
    latents, labels = encode(bundle.encoder, job.images), job.labels
    surrogate = train_surrogate(
        bundle.networks,
        latents,
        labels,
        config=job.config,
        checkpoint=job.checkpoint,
        progress=job.progress,
    )
    networks = replace(bundle.networks, surrogate=surrogate)
    return surrogate, evaluate_surrogate(
        networks, latents, labels, config=job.config, progress=job.progress
    )


def _predictor(job: _Job) -> Trained:
    bundle = load_bundle(job.out, job.device, without=("surrogate", "predictor"))
    bundle.check(job.data)
    latents, labels = encode(bundle.encoder, job.images), job.labels
    # As `produce` walks, if not told otherwise.
    metric = choose_metric(bundle.generator, WalkOptions())
    predictor = train_predictor(
        bundle.networks,
        latents,
        labels,
        config=job.config,
        metric=metric,
        checkpoint=job.checkpoint,
        progress=job.progress,
    )
    networks = replace(bundle.networks, predictor=predictor)
    return predictor, evaluate_predictor(
        networks, latents, labels, config=job.config, metric=metric
    )


_TRAINERS: dict[str, Callable[[_Job], Trained]] = {
    "generator": _generator,
    "encoder": _encoder,
    "identity": _identity,
    "classifier": _classifier,
    "surrogate": _surrogate,
    "predictor": _predictor,
}


def _trained_classifier(
    job: _Job, target: Tensor, count: int, validation: tuple[Tensor, Tensor] | None = None
) -> Trained:
    model = train_classifier(
        job.images,
        target,
        num_classes=count,
        config=job.config,
        checkpoint=job.checkpoint,
        validation=validation,
        progress=job.progress,
    )
    hits = (predict(model, job.images).argmax(dim=1) == target).float().mean()
    return model, {"accuracy on the training images": float(hits)}


def _judged(network: str, module: Any, job: _Job) -> list[JudgedFigure]:
    """Figures of a network that was just trained, by those that are there already."""

    def there(name: str) -> Any:
        path = job.out / FILES[name]
        if not path.exists():
            return None
        if name == "generator":
            return load_generator(path, job.device)
        return place(build(read_weights(path, kind=name), Encoder, source=path), job.device)

    if network == "generator":
        return [] if job.judge is None else job.judge.judge(module)
    if network == "encoder":
        return judge_encoder(module, there("generator"), job.images)
    if network == "identity":
        encoder, generator = there("encoder"), there("generator")
        return judge_identity(
            module, job.images, job.people, job.config.augment, encoder, generator
        )
    if network == "classifier":
        return judge_classifier(module, job.held_out, there("generator"))
    return []


def check_resolution(resolution: int) -> None:
    """Refuse a side that no generator of ours has; 0 leaves it open."""
    if resolution and (not 4 <= resolution <= _LARGEST_SIDE or resolution & (resolution - 1)):
        raise InputError(
            expected=f"a --resolution that is a power of two, from 4 to {_LARGEST_SIDE}",
            got=str(resolution),
            fix="choose 32, 64, 128, ...",
        )


def check_validation(share: float) -> None:
    """Refuse a share of held-out people that is none, or that leaves too few to learn from."""
    if not 0 <= share <= 0.25:
        raise InputError(
            expected=f"{option('--validation')} from 0 to 0.25, a share of the people",
            got=str(share),
            fix="0.1 holds every tenth person out",
        )


def check_classes(data: ImageSet) -> None:
    """Refuse classes without images: no set could be made with networks that know them.

    Raises:
        DataError: names those classes.
    """
    empty = [name for name, count in data.class_counts().items() if not count]
    if empty:
        raise DataError(
            expected="images of every class",
            got=f"none of {', '.join(map(repr, empty))}",
            fix="leave out what names these classes: empty folders, or entries of a table",
        )


def _check_folder(out: Path) -> None:
    """Make the weights folder now: hours of training must not end with nowhere to write."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            expected=f"a folder for weights at {out}",
            got=(error.strerror or str(error)).lower(),
            fix="choose another --out",
        ) from error
    if not os.access(out, os.W_OK):
        raise InputError(
            expected=f"a weights folder at {out} that can be written to",
            got="one that cannot",
            fix="choose another --out, or change its permissions",
        )


def side_to_train_at(network: str, data: ImageSet, out: Path, resolution: int) -> int:
    """Resolution that a network is trained at.

    Args:
        network: which.
        data: the private set.
        out: the weights folder, whose generator decides for the others.
        resolution: what was asked for; 0 leaves it open.

    Raises:
        WeightsError: that of the generator is another one.
    """
    path = out / FILES["generator"]
    if network != "generator" and path.exists():
        side = load_generator(path).img_resolution
        if resolution not in (0, side):
            raise WeightsError(
                expected=f"resolution {side}, as of the generator in {out}",
                got=str(resolution),
                fix="leave --resolution out",
            )
        return side
    if resolution:
        check_resolution(resolution)
        return resolution
    largest = max(data.images.shape[1:3])
    return max(16, 1 << (largest - 1).bit_length())
