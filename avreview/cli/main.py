"""The command line's entry: what goes wrong becomes one line on stderr and exit code 2."""

from __future__ import annotations

import os
import sys

import typer

from avreview.cli import augment, baseline, check, completion, diff, explain, rules, schema, verify
from avreview.cli.output import ReaderGone, complain
from avreview.errors import AvreviewError

# Typer as it comes imports rich for its help; plain help starts three times as fast.
app = typer.Typer(
    name="avreview",
    help="The model-review linter for autonomous-vehicle perception: nine questions, answered from the artifacts.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("check", cls=check.CheckCommand)(check.check)
app.command("augment")(augment.augment)
app.command("diff")(diff.diff)
app.command("baseline")(baseline.baseline)
app.command("verify")(verify.verify)
app.command("rules")(rules.rules)
app.command("explain")(explain.explain)
app.command("schema")(schema.schema)
app.command("completion")(completion.completion)


def _version(wanted: bool) -> None:
    if wanted:
        from avreview import __version__

        typer.echo(f"avreview {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def main() -> None:
    """Runs the command line. Exit codes: 0 nothing found, 1 findings, 2 the review could not be done.

    Python ends with 1 on an exception, rich and Typer on a closed pipe; here that would say "findings", and becomes 2.
    """
    try:
        code = app(prog_name="avreview", standalone_mode=False)
    except AvreviewError as error:
        _fail(str(error))
    except MemoryError:
        _fail("out of memory")
    except (ReaderGone, SystemExit):  # the exit is rich's or Typer's
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except Exception as error:
        if hasattr(error, "show"):  # a usage error of Click's, which newer Typers carry inside themselves
            error.show()
            sys.exit(2)
        _fail(_crash(error))
    sys.exit(code or 0)


def _fail(message: str) -> None:
    complain(message)
    sys.exit(2)


def _crash(error: Exception) -> str:
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    return f"avreview crashed at {where}: {type(error).__name__}: {error}; please report it"
