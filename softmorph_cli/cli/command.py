"""What all commands share: options from declarations, exit statuses of errors, clean interruption."""

from __future__ import annotations

import dataclasses
import errno
import functools
import inspect
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer

from softmorph_cli.cli import answer, earlier_spellings
from softmorph_cli.cli.help_screens import MORE, HelpCommand, HelpGroup, on_one_screen
from softmorph_cli.errors import SoftmorphError, SoftmorphWarning, UsageError
from softmorph_cli.system import printable
from softmorph_cli.system.interruption import ending_signals, send
from softmorph_cli.system.parameters import Declared, declared, named_as_options

INTERRUPTED = 130
# The command line, from "softmorph" on.
_WORDS: ContextVar[tuple[str, ...]] = ContextVar("words", default=())


@dataclasses.dataclass(frozen=True)
class Options:
    """A bundle of command-line options that a command receives as one object.

    Attributes:
        parameters: The options, in the order of the help text.
        make: Function that makes the object from the values of the options.
    """

    parameters: tuple[inspect.Parameter, ...]
    make: Callable[..., Any]


class _Command(HelpCommand):
    """A command whose options are made lazily, on first use, because the list of all commands needs no options."""

    make_function: Callable[[], Callable[..., None]]

    @functools.cached_property
    def _made(self) -> Any:
        alone = typer.Typer(add_completion=False)
        alone.command(self.name)(command(self.make_function()))
        made = typer.main.get_command(alone)
        on_one_screen(made.params)
        return made

    @property
    def params(self) -> list[Any]:
        return self._made.params  # type: ignore[no-any-return]

    @params.setter
    def params(self, none: list[Any]) -> None:
        """Do nothing: Typer would overwrite the options with those of the registered function, which has none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of the command line, those of an earlier version too; errors are JSON with --json."""
        # The parser empties the list that it reads.
        name, words = _name(ctx), list(args)
        try:
            if not ctx.resilient_parsing:
                args, notes = earlier_spellings.current(name, args)
                for message in notes if not {"-q", "--quiet"} & set(args) else ():
                    note(message)
            _WORDS.set((*ctx.command_path.split(), *args))
            return super().parse_args(ctx, args)
        except UsageError as error:
            complain(str(error))
            if "--json" in words:
                answer.wrong_usage(name, str(error), error.exit_code)
            raise typer.Exit(error.exit_code) from None
        except Exception as error:
            _answer_wrong_usage(name, words, error)
            raise

    def invoke(self, ctx: Any) -> Any:
        with answer.answering(_name(ctx), wanted=bool(ctx.params.get("json"))):
            return self._made.invoke(ctx)


class Group(HelpGroup):
    """A group of commands; that a command does not exist, or is not named, is JSON with --json."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words before the name of the command; --json is an option of commands, after their name."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            _answer_wrong_usage(_name(ctx), words, error)
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is typed."""
        words = list(args)
        try:
            return super().resolve_command(ctx, args)
        except Exception as error:
            _answer_wrong_usage(_name(ctx), words, error)
            raise


def _name(context: Any) -> str:
    """Return the name of the command of a context, such as "topology repair"; "" of the program."""
    return str(context.command_path.partition(" ")[2])


def _answer_wrong_usage(name: str, words: Sequence[str], error: Exception) -> None:
    """Print the JSON object of an error of the parser, if the command line asks for JSON."""
    # Typer's errors have classes of their own in some of its versions, and those of Click in others.
    if "--json" in words and hasattr(error, "format_message"):
        answer.wrong_usage(name, error.format_message(), getattr(error, "exit_code", 2))


def typed_words() -> tuple[str, ...]:
    """Return the words of the running command line, from "softmorph" on, for messages that advise a changed one."""
    return _WORDS.get()


def add(
    app: typer.Typer, name: str, function: Callable[..., None], *examples: str, panel: str | None = None
) -> None:
    """Add a command to an application, as `add_made` does it; the docstring of the function is the help."""
    add_made(app, name, lambda: function, inspect.getdoc(function) or "", *examples, panel=panel)


def add_made(
    app: typer.Typer,
    name: str,
    make: Callable[[], Callable[..., None]],
    told: str,
    *examples: str,
    panel: str | None = None,
) -> None:
    """Add a command to an application.

    Args:
        app: The application, or a group of it.
        name: The command's name.
        make: Returns the function, when the command is used; arguments and options are made as in `command`.
        told: The help.
        examples: Command lines for the end of the help.
        panel: The heading under which the application's help lists the command.
    """

    class Made(_Command):
        pass

    Made.make_function = staticmethod(make)
    epilog = "Examples:\n\n" + "\n\n".join(examples)
    told = inspect.cleandoc(told)
    sentence = " ".join(told.partition("\n\n")[0].split()).partition(". ")[0].removesuffix(".") + "."
    made = app.command(name, cls=Made, help=told, short_help=sentence, epilog=epilog, rich_help_panel=panel)
    made(lambda: None)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function fit for Typer.

    A parameter annotated with a dataclass of options, or with `Options`, is replaced by those options, one by one:
    each bundle is written down once and means the same everywhere. Errors end the process with their exit status and
    one sentence on stderr; with `--verbose` the traceback is shown.
    """
    hints: dict[str, Any] = get_type_hints(function, include_extras=True)
    bundles: dict[str, Options] = {
        name: hint if isinstance(hint, Options) else options_of(hint)
        for name, hint in hints.items()
        if isinstance(hint, Options) or dataclasses.is_dataclass(hint)
    }

    @functools.wraps(function)
    def run(**given: Any) -> None:
        verbose = bool(given.get("verbose"))
        with (
            _exit_status(verbose, {one.name for one in parameters}),
            _terminable(),
            _log_level(quiet=bool(given.get("quiet"))),
            warnings.catch_warnings(),
            named_as_options(),
        ):
            _print_own_warnings(verbose)
            answer.check_file(given.get("json_file"))
            for name, bundle in bundles.items():
                given[name] = bundle.make(**{one.name: given.pop(one.name) for one in bundle.parameters})
            function(**given)

    parameters: list[inspect.Parameter] = []
    own = declared(function)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in bundles:
            parameters.extend(bundles[parameter.name].parameters)
        elif parameter.name in own:
            parameters.append(option(own[parameter.name]))
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))
    assert not bundles.keys() & {one.name for one in parameters}, "a bundle is named as an option"
    parameters.sort(key=lambda one: one.kind)
    # An argument of an operation comes before IN and OUT.
    parameters.sort(key=lambda one: one.kind is not inspect.Parameter.POSITIONAL_ONLY)
    parameters = [
        one.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
        if one.kind is inspect.Parameter.POSITIONAL_ONLY
        else one
        for one in parameters
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def options_of(bundle: Any) -> Options:
    """Return the options of a dataclass, of the `Parameter`s of its fields; `panel` is their panel of --help."""
    panel = getattr(bundle, "panel", None)
    return Options(tuple(option(one, panel) for one in declared(bundle).values() if one.about.shell), bundle)


def option(one: Declared, panel: str | None = None) -> inspect.Parameter:
    """Return the option, or the argument, of a parameter; `panel` is for one that names no panel of --help."""
    about = one.about
    kind: Any = str if about.parse is not None else one.kind
    kind = kind | None if one.optional else kind
    if about.argument:
        # `command` puts positional-only parameters first.
        argument = typer.Argument(
            metavar=about.metavar, help=about.help, show_default=False, autocompletion=about.completed
        )
        return inspect.Parameter(
            one.name, inspect.Parameter.POSITIONAL_ONLY, annotation=Annotated[kind, argument]
        )
    flags = about.flags or (f"--{one.name.replace('_', '-')}",)
    made = typer.Option(
        *flags,
        metavar=about.metavar,
        help=about.help,
        min=about.least,
        # The first screen of --help is the panel without a title of its own.
        rich_help_panel=None if about.first else about.group or panel or MORE,
        autocompletion=about.completed,
        show_default=one.default is not None and not one.required,
    )
    return inspect.Parameter(
        one.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if one.required else one.default,
        annotation=Annotated[kind, made],
    )


@contextmanager
def _log_level(*, quiet: bool) -> Iterator[None]:
    """Within the block, the notes that the program logs, such as of a long compilation, are printed unless `quiet`."""
    log = logging.getLogger("softmorph_cli")
    before = log.level
    if quiet:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _print_own_warnings(verbose: bool) -> None:
    # Warnings of libraries are shown with --verbose only: an error with the same cause follows.
    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, SoftmorphWarning):
            warn(str(message))
        elif verbose:
            before(printable.printable(str(message)), category, *rest)

    before = warnings.showwarning
    # Independent of -W and PYTHONWARNINGS: these are messages of the command.
    warnings.simplefilter("default", SoftmorphWarning)
    warnings.showwarning = show  # type: ignore[assignment]


class _Terminated(BaseException):
    """The exception for a signal that ends the process, so that temporary files are removed before it ends."""

    def __init__(self, number: int) -> None:
        self.status = 128 + number


@contextmanager
def _terminable() -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise _Terminated(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in ending_signals()}
    hook, repeated = sys.unraisablehook, list[threading.Timer]()

    def unheard(unraisable: Any) -> None:
        raised = unraisable.exc_value
        if not isinstance(raised, KeyboardInterrupt | _Terminated):
            hook(unraisable)
            return
        # Python ignores exceptions in callbacks from C, such as Numba's: send the signal again, a little later so that
        # it is handled elsewhere.
        number = signal.SIGINT if isinstance(raised, KeyboardInterrupt) else raised.status - 128
        repeated.append(threading.Timer(0.02, send, (number,)))
        repeated[-1].daemon = True
        repeated[-1].start()

    sys.unraisablehook = unheard
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for timer in repeated:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _exit_status(verbose: bool, options: Collection[str]) -> Iterator[None]:
    try:
        yield
        answer.finish()
        sys.stdout.flush()
    except typer.Exit as ended:
        answer.finish(ended.exit_code)
        raise
    except SoftmorphError as error:
        _end(str(error), error.exit_code, verbose)
    except MemoryError:
        _end(_too_large(options), 1, verbose)
    except KeyboardInterrupt:
        _end("interrupted; files that were not finished are as they were before.", INTERRUPTED, verbose)
    except _Terminated as signalled:
        _end("terminated; files that were not finished are as they were before.", signalled.status, verbose)
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader closed the pipe, as head does
            raise
        _silence_stdout()
        _end(f"the system refused: {error}.", 1, verbose)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        _end(f"{what} (a bug in softmorph: please report it with the output of --verbose).", 1, verbose)


def _too_large(options: Collection[str]) -> str:
    """Return the error for exhausted memory, which names the option of the command that reduces memory use."""
    if "region" in options:
        return "out of memory: cut out a part with --region."
    return f"out of memory: {'choose a smaller --size' if 'size' in options else 'a machine with more is needed'}."


def _end(message: str, status: int, verbose: bool) -> NoReturn:
    if verbose:
        _print_traceback()
    complain(message)
    answer.finish(status)
    raise typer.Exit(status) from None


def _silence_stdout() -> None:
    # Unprinted text is still buffered; flushing it at exit would fail again, with a traceback.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def unprinted(error: OSError) -> None:
    """Print the error of a help text that could not be printed."""
    _silence_stdout()
    complain(f"the system refused: {error}.")


def complain(message: str) -> None:
    """Print an error as one line on stderr."""
    answer.add_complaint(message)
    _say("error", typer.colors.RED, message)


def complain_of(error: Exception, *files: Path, verbose: bool) -> str:
    """Print, and return, the error of one of several files; the first is named unless the error names one."""
    if verbose:
        _print_traceback()
    reason = "out of memory: cut out a part with --region." if isinstance(error, MemoryError) else str(error)
    if not any(str(file) in reason for file in files):
        reason = f"{files[0]}: {reason}"
    complain(reason)
    return reason


def _print_traceback() -> None:
    import traceback

    typer.echo(printable.printable(traceback.format_exc(), keep="\n"), err=True)


def warn(message: str) -> None:
    """Print a warning as one line on stderr."""
    _say("warning", typer.colors.YELLOW, message)


def note(message: str) -> None:
    """Print a note as one line on stderr."""
    _say("note", typer.colors.CYAN, message)


def _say(kind: str, color: str, message: str) -> None:
    coloured = bool(os.environ.get("FORCE_COLOR")) or (sys.stderr.isatty() and not os.environ.get("NO_COLOR"))
    typer.echo(
        f"{typer.style(f'{kind}:', fg=color, bold=True)} {printable.message(message)}",
        err=True,
        color=coloured,
    )
