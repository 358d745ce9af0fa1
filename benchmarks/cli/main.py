"""The command line of memformer-bench: its commands, each from a file of its own.

Nothing heavy is imported until a command needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

import typer

from benchmarks.cli.check import check
from benchmarks.cli.enter import enter
from benchmarks.cli.entries import entries_app
from benchmarks.cli.fit import fit
from benchmarks.cli.leaderboard import leaderboard
from benchmarks.cli.overview import env, list_, show
from benchmarks.cli.paper import judge
from benchmarks.cli.results import results_app
from benchmarks.cli.run import run
from benchmarks.cli.site import site
from benchmarks.cli.views import views_app
from benchmarks.errors import UserError
from benchmarks.harness.workers.memory import keep_freed_memory

app = typer.Typer(
    help="Benchmark learned and classical first-order methods on random regression tasks.",
    epilog="Start with: memformer-bench run smoke",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

app.add_typer(views_app, name="views")
app.add_typer(results_app, name="results")
app.add_typer(entries_app, name="entries")
for command, example in {
    run: "s:  memformer-bench run smoke  ·  memformer-bench run my_suite.toml --plugin my_solver.py",
    judge: ":  memformer-bench judge paper-1 --only a --only f",
    list_: ":  memformer-bench list solvers",
    show: ":  memformer-bench show cg",
    leaderboard: ":  memformer-bench leaderboard core-reference --format markdown --output board.md",
    site: ":  memformer-bench site core-reference --output build/site",
    fit: ":  memformer-bench fit memformer_first_order anisotropic --steps 3",
    enter: ":  memformer-bench enter my_solver.py",
    check: ":  memformer-bench check --against origin/main --output report.md",
}.items():
    app.command(command.__name__.rstrip("_"), epilog=f"Example{example}")(command)
app.command()(env)


ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What ends a program without Ctrl-C; it ends in the same way, so that whatever is temporary goes."""


def main() -> NoReturn:
    """Entry point: exit status 0, 1 if something in a run failed, 2 for a mistake of the user's or the machine's."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a letter that the terminal lacks is no reason to stop
    keep_freed_memory()
    ends = [number for number in ENDS if signal.getsignal(number) is signal.SIG_DFL]
    for number in ends:
        signal.signal(number, signal.default_int_handler)
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # what cannot be written fails here, and not after the exit status is settled
    except UserError as error:
        _fail(str(error))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # a full disk, say, or one that was taken away
        what = f": {error.filename}" if error.filename else ""
        _fail(f"the system refuses to read or write: {error.strerror or error}{what}")
    finally:
        for number in ends:
            signal.signal(number, signal.SIG_DFL)
    sys.exit(0)


def _fail(sentence: str) -> NoReturn:
    """End with a sentence and status 2, even where no sentence can be written."""
    from benchmarks.reports.escape import plain

    with suppress(OSError):
        print(f"error: {plain(sentence)}", file=sys.stderr, flush=True)
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what is left when it ends
    sys.exit(2)


if __name__ == "__main__":
    main()
