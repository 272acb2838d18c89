"""`latentpath train`: one network of a weights folder, from a data set to its file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentpath._version import __version__
from latentpath.core import (
    DataError,
    InputError,
    Progress,
    StoppedError,
    WeightsError,
    check_at_least,
    check_extra,
    place,
    silent,
    stoppable,
)
from latentpath.data import ImageSet, to_tensor, validation_people
from latentpath.generators import (
    build,
    load_generator,
    read_weights,
    save_generator,
    save_weights,
)
from latentpath.models import Encoder, Surrogate, save_surrogate
from latentpath.production.bundle import FILES, load_bundle, people_fingerprint
from latentpath.production.judgement import JudgedFigure, note_figures
from latentpath.production.network_judging import (
    GeneratorJudge,
    judge_classifier,
    judge_encoder,
    judge_identity,
)
from latentpath.production.prepared_endpoints import at_resolution
from latentpath.production.sample_sheets import SampleSheets
from latentpath.similarity import LPIPS
from latentpath.training import (
    Pretrained,
    encode,
    evaluate_surrogate,
    predict,
    train_classifier,
    train_encoder,
    train_generator,
    train_surrogate,
)

# The names of sheets count thousands.
_LEAST_SHEET_IMAGES = 1000
# StyleGAN2's layers are defined up to 1024; two octaves more leave room.
_LARGEST_SIDE = 4096

# Networks that do not have to know everybody.
_WITHOUT_HELD_OUT = ("generator", "classifier")

Trained = tuple[nn.Module, dict[str, float]]


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
    device: torch.device | str = "cpu",
    progress: Progress = silent,
    say: Callable[[str], None] | None = None,
) -> str:
    """Train one network and write its weights into the folder `out`.

    A checkpoint `<network>.checkpoint` lies beside the weights; the same command continues from
    it after an interruption, and lengthens a finished generator with a larger `total_images`.

    Args:
        network: "generator", "encoder" (needs the generator in `out`), "identity", "classifier" or
            "surrogate" (needs all of these in `out`).
        data: the private set.
        out: the weights folder.
        config: `GeneratorConfig`, `EncoderConfig`, `IdentityConfig`, `ClassifierConfig` or
            `SurrogateConfig`.
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
        device: where to train.
        progress: told after every step.
        say: shows the line that says where an interrupted training goes on; None shows none.

    Returns:
        A line that says what was written and how well it does, and lines on what is not as usual.
        The figures are stored in `judgement.json` beside the weights, where `produce` looks.

    Raises:
        StoppedError: Ctrl-C or SIGTERM asked to stop; the checkpoint holds the last step.
    """
    trainers: dict[str, Callable[..., Trained]] = {
        "generator": partial(_generator, initial=initial, sheet_images=sheet_images),
        "encoder": _encoder,
        "identity": _identity,
        "classifier": _classifier,
        "surrogate": _surrogate,
    }
    if network not in trainers:
        raise InputError(
            expected=f"a network out of {', '.join(trainers)}",
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
    side = _side(network, data, out, resolution)
    data = at_resolution(data, side)
    held_out = validation_people(data, validation)
    known = data
    if held_out is not None and network in _WITHOUT_HELD_OUT:
        known = held_out.private
    images = to_tensor(known.images).to(device)
    checkpoint = out / f"{network}.checkpoint"
    others = None if held_out is None else held_out.others
    arguments = (known, images, out, config, checkpoint, progress)
    with stoppable("this step, which is saved", say or _silent) as stop:
        module, result = trainers[network](*arguments, others)
        figures = _judged(network, module, known, images, out, config, others)
    if stop:  # while it was judged what a finished training is worth
        raise StoppedError(
            stop.number, "a stop after training, as asked", "the same command goes on from there"
        )
    notes: dict[str, Any] = {
        "software_version": __version__,
        "class_names": list(data.class_names),
        "images": len(known),
        "seed": config.seed,
        "result": result,
    }
    if network == "identity":
        notes["people"] = people_fingerprint(data)
    if initial is not None:
        notes["initial"] = initial.notes()
    path = out / FILES[network]
    if network == "generator":
        save_generator(path, module, notes=notes, half=half)
    elif isinstance(module, Surrogate):
        save_surrogate(path, module, notes=notes, half=half)
    else:
        save_weights(path, module, kind=network, config=module.config, notes=notes, half=half)  # type: ignore[arg-type]
    shown = ", ".join(f"{name} {value:.4g}" for name, value in result.items())
    line = f"weights: {path} ({path.stat().st_size / 1e6:.2f} MB; {shown})"
    people = 0 if others is None else others.num_identities
    count = 0 if others is None else len(others)
    note_figures(out, network, path, figures, {"people": people, "images": count})
    for figure in figures:
        line += f"\njudged {figure.state}: {figure.words}"
    if others is None and validation and network in _WITHOUT_HELD_OUT:
        line += (
            f"\nnot judged on people it has not met: of {data.num_identities:,} people too few can "
            "be held out"
        )
    if result.get("walk energy ratio", 0.0) > 1:
        line += f"\nwalks end at lower energy without this surrogate: delete {path} to do without"
    return line


def _silent(text: str) -> None:
    pass


def _generator(
    data: ImageSet,
    images: Tensor,
    out: Path,
    config: Any,
    checkpoint: Path,
    progress: Progress,
    others: ImageSet | None,
    *,
    initial: Pretrained | None,
    sheet_images: int,
) -> Trained:
    judge = None if others is None else _generator_judge(data, others, images.device)
    sheets = SampleSheets(
        out, data.num_classes, config.seed, sheet_images, None if judge is None else judge.kid
    )
    if not checkpoint.exists():
        sheets.forget()
    generator = train_generator(
        images,
        torch.as_tensor(data.labels, device=images.device),
        num_classes=data.num_classes,
        config=config,
        initial=initial,
        checkpoint=checkpoint,
        snapshot=sheets if sheet_images else None,
        progress=progress,
    )
    sheets(generator, config.total_images, keep=False)
    seen = sheets.restore_best(generator, config.total_images)
    return generator, {"images seen": float(seen)}


def _encoder(
    data: ImageSet,
    images: Tensor,
    out: Path,
    config: Any,
    checkpoint: Path,
    progress: Progress,
    others: ImageSet | None,
) -> Trained:
    generator = load_generator(out / FILES["generator"], images.device)
    encoder = train_encoder(
        images, generator, config=config, checkpoint=checkpoint, progress=progress
    )
    with torch.no_grad():
        errors = [
            (generator.synthesize(encode(encoder, part)).clamp(-1, 1) - part).square().mean()
            for part in images.split(256)
        ]
    return encoder, {"squared error": float(torch.stack(errors).mean())}


def _identity(
    data: ImageSet,
    images: Tensor,
    out: Path,
    config: Any,
    checkpoint: Path,
    progress: Progress,
    others: ImageSet | None,
) -> Trained:
    people = torch.as_tensor(data.identities, device=images.device)
    return _trained_classifier(images, people, data.num_identities, config, checkpoint, progress)


def _classifier(
    data: ImageSet,
    images: Tensor,
    out: Path,
    config: Any,
    checkpoint: Path,
    progress: Progress,
    others: ImageSet | None,
) -> Trained:
    labels = torch.as_tensor(data.labels, device=images.device)
    validation = None if others is None else _tensors(others, images.device)
    return _trained_classifier(
        images, labels, data.num_classes, config, checkpoint, progress, validation
    )


def _surrogate(
    data: ImageSet,
    images: Tensor,
    out: Path,
    config: Any,
    checkpoint: Path,
    progress: Progress,
    others: ImageSet | None,
) -> Trained:
    bundle = load_bundle(out, images.device, with_surrogate=False)
    bundle.check(data)
    latents = encode(bundle.encoder, images)
    labels = torch.as_tensor(data.labels, device=images.device)
    surrogate = train_surrogate(
        bundle.networks, latents, labels, config=config, checkpoint=checkpoint, progress=progress
    )
    networks = replace(bundle.networks, surrogate=surrogate)
    return surrogate, evaluate_surrogate(
        networks, latents, labels, config=config, progress=progress
    )


def _trained_classifier(
    images: Tensor,
    target: Tensor,
    count: int,
    config: Any,
    checkpoint: Path,
    progress: Progress,
    validation: tuple[Tensor, Tensor] | None = None,
) -> Trained:
    model = train_classifier(
        images,
        target,
        num_classes=count,
        config=config,
        checkpoint=checkpoint,
        validation=validation,
        progress=progress,
    )
    hits = (predict(model, images).argmax(dim=1) == target).float().mean()
    return model, {"accuracy on the training images": float(hits)}


def _tensors(images: ImageSet, device: torch.device) -> tuple[Tensor, Tensor]:
    pixels = to_tensor(images.images).to(device)
    return pixels, torch.as_tensor(images.labels, device=device)


def _generator_judge(data: ImageSet, others: ImageSet, device: torch.device) -> GeneratorJudge:
    return GeneratorJudge(data.images, data.labels, others.images, LPIPS.load(device))


def _judged(
    network: str,
    module: Any,
    data: ImageSet,
    images: Tensor,
    out: Path,
    config: Any,
    others: ImageSet | None,
) -> list[JudgedFigure]:
    """Figures of a network that was just trained, by those that are there already."""

    def there(name: str) -> Any:
        path = out / FILES[name]
        if network == name or not path.exists():
            return None
        if name == "generator":
            return load_generator(path, images.device)
        return place(build(read_weights(path, kind=name), Encoder, source=path), images.device)

    if network == "generator":
        if others is None:
            return []
        return _generator_judge(data, others, images.device).judge(module)
    if network == "encoder":
        return judge_encoder(module, there("generator"), images)
    if network == "identity":
        people = torch.as_tensor(data.identities, device=images.device)
        encoder = there("encoder")
        generator = there("generator")
        return judge_identity(module, images, people, config.augment, encoder, generator)
    if network == "classifier":
        held_out = None if others is None else _tensors(others, images.device)
        return judge_classifier(module, held_out, there("generator"))
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
            expected="--validation from 0 to 0.25, a share of the people",
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


def _side(network: str, data: ImageSet, out: Path, resolution: int) -> int:
    """Resolution to train at."""
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
