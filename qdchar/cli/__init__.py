"""The command line: one file a verb, one line here for each."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import click

from qdchar import __version__
from qdchar.errors import QdcharError, RunFolderError, described
from qdchar.files import cannot_be_written
from qdchar.interrupt import Terminated, unwind_on_signals

from ._streams import never_raise_on_output, output_lost

# verb: what `qdchar --help` says of it. The verb's file is imported only when it is asked for.
VERBS = {
    "calibrate": "Tune the source, measure it, predict its key rate: the main job.",
    "init": "Write commented station, recipe and link files that run as they are.",
    "check": "Identify and read every instrument, touching nothing.",
    "measure": "Make one measurement.",
    "safe": "Bring everything to safety.",
    "fit": "Analyse one file: hbt, lifetime, rabi, etalon, cavity and more.",
    "keyrate": "Predict the secret key rate of a source on a link.",
    "exchange": "Make a key in the simulated lab, beside its predicted length.",
    "figures": "Draw the paper's key-rate figures with one's own source in them.",
    "report": "Make the pages and figures of a run.",
    "budget": "Show what an uncertainty is made of, and what would reduce it.",
    "verify": "Check that a run was not changed and does not contradict itself.",
    "compare": "Compare the records of two runs.",
    "history": "Show how a source changed over the runs of a folder.",
    "convert": "Turn a time-tag file into another format.",
    "info": "Describe a time-tag file.",
    "reprocess": "Run one analysis over an archive, here or on a Dask cluster.",
    "docs": "Build the handbook and open it.",
    "twin": "Serve the simulated lab on fixed ports.",
}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = getattr(importlib.import_module(f"{__name__}.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # on KeyboardInterrupt, click prints to standard error, which may have been closed
            raise click.Abort from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Characterize quantum-dot single-photon sources and predict their QKD key rate.

    Exit codes: 0 GO, 2 usage, 10 NO-GO, 11 inconclusive, 20 an instrument cannot be reached, 21
    refused for safety, 22 make-safe failed, 23 the run folder or an output file cannot be written,
    30 a record or data file is stale, changed, invalid or no GO; 130, 143, 129 and 131 ended by
    Ctrl-C, SIGTERM, SIGHUP and SIGQUIT.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    Whatever ends it, with ``--json`` the last line of standard output is one line of JSON.
    """
    try:
        code = cli.main(list(arguments), prog_name="qdchar", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except QdcharError as error:
        return _ended(arguments, str(error), error.exit_code)
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
        return _ended(arguments, error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        return _ended(arguments, "interrupted", 130)
    except Terminated as ended:
        return _ended(arguments, str(ended), ended.exit_code)
    except OSError as error:
        if cannot_be_written(error):
            where = error.filename or "the run folder or an output file"
            text = f"{where}: cannot be written: {error.strerror}; free some space or choose --out"
            return _ended(arguments, text, RunFolderError.exit_code)
        return _unexpected(arguments, error)
    except BaseException as error:  # a lab's own driver may raise anything
        return _unexpected(arguments, error)


def _unexpected(arguments: Sequence[str], error: BaseException) -> int:
    """End with what no one foresaw: the traceback is for whoever mends it."""
    click.echo("".join(traceback.format_exception(error)), err=True)
    return _ended(arguments, f"unexpected {described(error)}", 1)


def _ended(arguments: Sequence[str], message: str, code: int) -> int:
    with suppress(OSError):  # standard error may have been closed
        click.echo(f"qdchar: {message}", err=True)
    if "--json" in arguments:
        click.echo(json.dumps({"error": message, "exit_code": code}))
    return code


def main() -> None:
    """Entry point of the ``qdchar`` command."""
    never_raise_on_output()
    unwind_on_signals()
    code = run(sys.argv[1:])
    if error := output_lost():
        click.echo(f"qdchar: standard output cannot be written: {error.strerror}", err=True)
        code = code or RunFolderError.exit_code
    sys.exit(code)
