"""What texts call an option: as the command in use has it, or from Python the argument or field.

Audits, trainings and runs are parts of several commands, and what one of them calls `--holdout` is
`--hold-out` to another. Their texts name an option by `option`, as the command that is about
nothing else calls it; a command with other names says so with `calling`. Whoever calls from Python
has no options: errors and warnings show such words as arguments (`as_here`), unless they are shown
`on_command_line`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_NAMES: ContextVar[Mapping[str, str] | None] = ContextVar("names of options", default=None)
_TYPED: ContextVar[bool] = ContextVar("whether options are typed", default=False)

# How runs are mended, unless a command calls it otherwise.
RESUME = "go on with --resume"
REBUILD = "rebuild it from the finished shards: the same command with --resume --rebuild-ledger"
ANEW = "start anew with --overwrite"
ANY_MACHINE = "accept other last bits with --any-machine"


def option(name: str) -> str:
    """What the command in use calls an option, or a few words that name one.

    >>> option("--holdout")
    '--holdout'
    >>> with calling({"--holdout": "--hold-out"}):
    ...     option("--holdout")
    '--hold-out'

    Args:
        name: as the command has it that does this alone.
    """
    return (_NAMES.get() or {}).get(name, name)


def longer_training(network: str) -> str:
    """What trains a network for longer than it was trained.

    Args:
        network: its name, such as "generator".
    """
    if network == "generator":
        return option("`latentpath train generator` with more --total-images")
    return option(f"`latentpath train {network}` with more --steps, without {network}.checkpoint")


def same_names() -> Callable[[], None]:
    """What lets another thread name options as this one does: an initialiser of pools of threads,
    which know nothing of whoever made them."""
    names, typed = _NAMES.get(), _TYPED.get()

    def take() -> None:
        _NAMES.set(names)
        _TYPED.set(typed)

    return take


@contextmanager
def calling(names: Mapping[str, str]) -> Iterator[None]:
    """Name options by these names.

    Args:
        names: what `option` returns for what it is asked.
    """
    token = _NAMES.set(names)
    try:
        yield
    finally:
        _NAMES.reset(token)


@contextmanager
def on_command_line(typed: bool = True) -> Iterator[None]:
    """Let errors and warnings name options as they are typed.

    Args:
        typed: False lets them name arguments again.
    """
    token = _TYPED.set(typed)
    try:
        yield
    finally:
        _TYPED.reset(token)


def as_here(text: str) -> str:
    """A text with its options as whoever reads it gives them.

    Args:
        text: with options as the command line has them.
    """
    return text if _TYPED.get() else in_python(text)


# Options whose arguments or fields are called otherwise than they themselves; of a configuration
# inside others, the way there.
PYTHON_NAMES = {
    "data": "source",
    "k": "endpoints.k",
    "small-classes": "endpoints.small_classes",
    "steps": "walk.steps",
    "passes": "walk.fast.passes",
    "predictor": "walk.fast.predictor",
    "optim-steps": "walk.published.optim_steps",
    "latent-metric": "walk.latent_metric",
    "classifier-steps": "classifier.steps",
    "witness-steps": "witness.steps",
    "membership-shadows": "membership.shadows",
    "membership-training-steps": "membership.training.steps",
    "train-validation": "training.validation",
    "audit-classifier-steps": "audit.classifier.steps",
    "audit-witness-steps": "audit.witness.steps",
    "audit-membership-shadows": "audit.membership.shadows",
    "audit-membership-training-steps": "audit.membership.training.steps",
}
# Those that are more than a name.
_PYTHON_WORDS = {
    "--verbose shows more": "verbose=True shows more",
    "--verbose": "names_shown()",
    "--ignore-windows": "window='full'",
    "--thorough": "AuditConfig()",
    "--numbered-apart": "person_digests=None of its ImageSet",
    "--latent-metric euclidean": "metric=None (in a configuration walk.latent_metric='euclidean')",
}
_SWITCHES = frozenset((
    "one-image-per-person", "public-class-names", "anyway", "overwrite", "resume",
    "rebuild-ledger", "any-machine", "trial", "balanced", "predictor",
))  # fmt: skip
# Words that are values, and not the next ones of a sentence.
_WORDS = {
    "split": ("all",),
    "small-classes": ("drop",),
    "window": ("full", "lung", "bone", "brain", "abdomen", "percentiles"),
    "label-separator": ("none",),
    "device": ("cuda",),
}
_TRAINED = re.compile(r"train-(generator|encoder|identity|classifier|surrogate)-(.+)")
_OPTION = re.compile(r"(?<![\w'\"-])--(?P<name>[a-z][a-z0-9-]*)")
_NUMBER = r"-?[0-9](?:[0-9.,]*[0-9])?"
_VALUE = re.compile(rf" (?P<value>'[^']*'|\"[^\"]*\"|{_NUMBER}|[A-Z]+(?:,[A-Z]+)*)(?![\w-])")
_SECOND = re.compile(rf" (?P<value>{_NUMBER}|[A-Z]+)(?![\w-])")
_COMMAND = re.compile(r"`latentpath [^`]*`[^,;:.)`]*(?:`[^`]*`)?|`[^`]*`")


def in_python(text: str) -> str:
    """A text whose options are the arguments and fields that they are in Python.

    What is to be typed, a command and the options behind it, stays.

    >>> in_python("say --identity-column 'id', or --window 40 400")
    "say identity_column='id', or window=(40, 400)"
    >>> in_python("choose --hours 15 or --train-encoder-steps 9 or `latentpath run --trial`")
    'choose hours=15 or training.encoder.steps=9 or `latentpath run --trial`'
    """
    done, place = "", 0
    for command in _COMMAND.finditer(text):
        done += _arguments(text[place : command.start()]) + command[0]
        place = command.end()
    return done + _arguments(text[place:])


def _arguments(text: str) -> str:
    for words, meant in _PYTHON_WORDS.items():
        text = text.replace(words, meant)
    done = ""
    while found := _OPTION.search(text):
        name, behind = found["name"], text[found.end() :]
        value, length = _value_of(name, behind)
        parted = behind[length:].startswith(" --")
        done += text[: found.start()] + _argument(name, value) + ("," if parted else "")
        text = behind[length:]
    return done + text


def _value_of(name: str, behind: str) -> tuple[str, int]:
    """The value that an option is given, "" where there is none, and its length."""
    for word in _WORDS.get(name, ()):
        if re.match(rf" {word}\b", behind):
            return repr(word), len(word) + 1
    found = None if name in _SWITCHES else _VALUE.match(behind)
    if found is None:
        return "", 0
    second = _SECOND.match(behind, found.end()) if name == "window" else None
    if second is not None:
        return f"({found['value']}, {second['value']})", second.end()
    return found["value"], found.end()


def _argument(name: str, value: str) -> str:
    if name.startswith("no-"):
        return f"{_python_name(name.removeprefix('no-'))}=False"
    if name in _SWITCHES:
        value = "True"
    return f"{_python_name(name)}={value}" if value else _python_name(name)


def _python_name(name: str) -> str:
    trained = _TRAINED.fullmatch(name)
    if trained:
        return f"training.{trained[1]}.{trained[2].replace('-', '_')}"
    return PYTHON_NAMES.get(name, name.replace("-", "_"))
