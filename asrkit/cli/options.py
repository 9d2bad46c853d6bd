"""What the commands share: options, the variables that stand for them, completion, and the class of a command."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from asrkit.cli import set_verbosity
from asrkit.errors import AsrkitError
from asrkit.plugins import registry

__all__ = [
    "Command",
    "Option",
    "complete_files",
    "complete_models",
    "complete_names",
    "decoder_option",
    "decoding_options",
    "language_options",
    "length_options",
    "loading_options",
    "model_option",
    "option",
    "verbosity_options",
]

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int4")
"""For completion only: which ones a backend has is not known before it is imported."""

OTHER = "Options"

Wrapped = TypeVar("Wrapped", bound=Callable[..., Any])
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem[Any]]]


class Option(click.Option):
    """An option with a place in the help, whose variable is named exactly when it matters.

    Args:
        section: the heading it stands under.
    """

    def __init__(self, *args: Any, section: str = OTHER, **settings: Any) -> None:
        super().__init__(*args, **{"show_envvar": "envvar" in settings, **settings})
        self.section = section

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """The option's names, with its variable unless the value was typed."""
        typed = ctx is not None and ctx.get_parameter_source(self.name or "") is click.core.ParameterSource.COMMANDLINE
        return click.Parameter.get_error_hint(self, ctx) if typed else super().get_error_hint(ctx)

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """The value in its type; an empty one is a mistake, most often that of a shell variable which is not set."""
        if value == "" or (self.multiple and value is not None and "" in value):
            raise click.BadParameter("it is empty; leave the option out for its default", ctx, self)
        return super().type_cast_value(ctx, value)


class Command(click.Command):
    """A command that refuses an option given twice, groups its options in the help, and blames variables."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, which by itself takes the last of several values without a word."""
        given = list(args)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=given)
            for param in order:
                if order.count(param) > 1 and isinstance(param, click.Option) and not (param.multiple or param.count):
                    raise click.UsageError(f"Option {param.opts[0]} is given {order.count(param)} times.", ctx)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error that is about a value from a variable names that variable."""
        try:
            return super().invoke(ctx)
        except AsrkitError as error:
            if blamed := list(_blamed(ctx, str(error))):
                error.args = (f"{error} (in the environment: {', '.join(blamed)})",)
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under their headings, in the order in which these first appear; those without one last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                sections.setdefault(getattr(param, "section", OTHER), []).append(record)
        others = sections.pop(OTHER, [])
        for heading, records in [*sections.items(), ("Other options" if sections else OTHER, others)]:
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def _blamed(ctx: click.Context, message: str) -> Iterator[str]:
    """The variables, with their values, that a message is about."""
    for param in ctx.command.params:
        if ctx.get_parameter_source(param.name or "") is click.core.ParameterSource.ENVIRONMENT:
            value = os.environ[str(param.envvar)]
            # A number may stand in a message for many things; what it is called is then the better sign.
            name = rf"\b{re.escape(param.name or '')}\b" if value.isdecimal() else "(?!)"
            if repr(value) in message or message.startswith(f"{value}:") or re.search(name, message):
                yield f"{param.envvar}={value}"


def option(*names: str, **settings: Any) -> Callable[[Wrapped], Wrapped]:
    """``click.option`` with the class of above; ``section`` and all that click knows may be given."""
    return click.option(*names, cls=Option, **settings)


def _all(*options: Callable[[Any], Any]) -> Callable[[Wrapped], Wrapped]:
    """Several options as one decorator, in this order."""

    def decorate(command: Wrapped) -> Wrapped:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


# Completion: never more than names, and nothing that imports an array library.


def _matching(names: Sequence[str], incomplete: str) -> list[CompletionItem[Any]]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_names(kind: str, *more: str) -> Complete:
    """Completes what is registered as ``kind``, and some more."""
    return lambda ctx, param, incomplete: _matching([*more, *registry().names(kind)], incomplete)


def complete_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
    """Leaves it to the shell, which knows files best."""
    return [CompletionItem(incomplete, type="file")]


def complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
    """Names of models, or files where no name begins like this."""
    found = _matching(registry().names("model"), incomplete)
    return found or complete_files(ctx, param, incomplete)


def _complete_languages(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
    """Languages of the model that was given by name, else of all."""
    specs = [entry.factory for entry in registry().entries("model")]
    named = [spec for spec in specs if spec.name == ctx.params.get("model")]
    languages = {language for spec in named or specs for language in spec.languages}
    return _matching(sorted(languages), incomplete)


def _complete_precisions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
    return _matching(PRECISIONS, incomplete)


# Options


model_option = option(
    "--model",
    "-m",
    required=True,
    envvar="ASRKIT_MODEL",
    section="Model",
    shell_complete=complete_models,
    help="A name from `asrkit models`, OWNER/REPO of the hub, or a path.",
)


decoder_option = option(
    "--decoder",
    section="Model",
    show_default="the model's",
    help="Which decoder of a model that has several, such as ctc or tdt.",
)


def language_options(spoken: str, text: str, envvar: str | None = None) -> Callable[[Wrapped], Wrapped]:
    """``--language``, ``--target-language`` and ``--pnc``.

    Args:
        spoken: what the first is by default, for the help.
        text: what the second is by default.
        envvar: the variable that stands for the first.
    """
    return _all(
        option(
            "--language",
            "-l",
            section="Language and text",
            shell_complete=_complete_languages,
            show_default=spoken,
            help="Language that is spoken.",
            **({} if envvar is None else {"envvar": envvar}),
        ),
        option(
            "--target-language",
            section="Language and text",
            shell_complete=_complete_languages,
            show_default=text,
            help="Language of the text; another one than is spoken asks for a translation.",
        ),
        option(
            "--pnc/--no-pnc",
            default=None,
            section="Language and text",
            show_default="on",
            help="Punctuation and capitals.",
        ),
    )


def loading_options(repeated: bool = False) -> Callable[[Wrapped], Wrapped]:
    """``--backend``, ``--device``, ``--threads`` and ``--precision``.

    Args:
        repeated: whether backends and precisions may be given several times. Then no variable stands for them: to
            compare them is what such a command is for.
    """
    backend: dict[str, Any] = {"default": "auto", "show_default": True, "envvar": "ASRKIT_BACKEND"}
    precision: dict[str, Any] = {"show_default": "the checkpoint's, else fp32", "envvar": "ASRKIT_PRECISION"}
    told = ""
    if repeated:
        backend = {"multiple": True, "show_default": "all that are meant to run here"}
        precision = {"multiple": True, "show_default": "the checkpoint's, else fp32"}
        told = " May be repeated."
    return _all(
        option(
            "--backend",
            *(["backends"] if repeated else []),
            section="Machine",
            shell_complete=complete_names("backend", "auto"),
            help=f"auto, or a name from `asrkit backends`.{told}",
            **backend,
        ),
        option(
            "--device",
            section="Machine",
            envvar="ASRKIT_DEVICE",
            show_default="the backend's",
            help="One of the backend's devices.",
        ),
        option(
            "--threads",
            type=click.IntRange(1, 1024),
            section="Machine",
            envvar="ASRKIT_THREADS",
            help="Processor threads, if the backend has a choice.",
        ),
        option(
            "--precision",
            *(["precisions"] if repeated else []),
            section="Machine",
            shell_complete=_complete_precisions,
            help=f"One that `asrkit backends` lists.{told}",
            **precision,
        ),
    )


class _BatchSize(click.ParamType[Any]):
    """A whole number from 1 on, or ``auto``."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or ``auto`` as it is."""
        if value == "auto" or (isinstance(value, int) and value > 0):
            return value
        if not str(value).isdecimal() or not int(value):
            self.fail(f"{value!r} is not auto or a whole number from 1 on.", param, ctx)
        return int(value)


decoding_options = _all(
    option(
        "--batch-size",
        type=_BatchSize(),
        default="auto",
        show_default=True,
        section="Machine",
        envvar="ASRKIT_BATCH_SIZE",
        help="Stretches of audio decoded together; auto goes by their lengths.",
    ),
    option(
        "--strategy",
        section="Model",
        shell_complete=complete_names("strategy"),
        show_default="the model's",
        help="Decoding strategy.",
    ),
    option("-o", "options", multiple=True, metavar="NAME=VALUE", section="Model", help="Any other of its options."),
)


length_options = _all(
    option(
        "--segmenter",
        section="Long recordings",
        shell_complete=complete_names("segmenter"),
        show_default="the model's",
        help="What cuts recordings: pauses cuts where nobody speaks, fixed by the clock, whole not at all.",
    ),
    option(
        "--vad",
        type=click.Choice(["silero", "energy", "none"]),
        section="Long recordings",
        show_default="silero",
        help="What detects speech.",
    ),
    option(
        "--max-segment",
        type=float,
        metavar="SECONDS",
        section="Long recordings",
        show_default="what the model is meant for",
        help="Longest stretch that is decoded at once.",
    ),
    option(
        "--overlap",
        type=float,
        metavar="SECONDS",
        section="Long recordings",
        show_default="2, or a quarter of a stretch",
        help="What two stretches share where there is no pause between them.",
    ),
    option(
        "--guards",
        type=click.Choice(["on", "off"]),
        default="on",
        show_default=True,
        section="Long recordings",
        help="Decode again where the text is missing, too short, repeats itself or does not end.",
    ),
)
"""How recordings are cut, and what watches over the texts of the pieces."""


def _verbosity(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Sets what :func:`asrkit.cli.say` shows; called once for either option."""
    if value and ctx.meta.setdefault(__name__, param.name) != param.name:
        raise click.UsageError("--verbose and --quiet contradict each other.", ctx)
    if value:
        set_verbosity(-1 if param.name == "quiet" else value)


verbosity_options = _all(
    option(
        "--verbose",
        "-v",
        count=True,
        expose_value=False,
        callback=_verbosity,
        help="Say on stderr what is done and how long it takes; -vv says more.",
    ),
    option("--quiet", "-q", is_flag=True, expose_value=False, callback=_verbosity, help="No warnings: errors only."),
)
