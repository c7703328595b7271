"""The commands. Each collects its objects, shows them, and leaves the work to the lab."""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

import symtheory
from symtheory.errors import SymtheoryError

INTERRUPTED = 130
REFUSED = 2


class _Group(TyperGroup):
    """Turns what users can mend into one message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except SymtheoryError as error:
            _say(f"error: {error}")
            raise SystemExit(REFUSED) from None
        except KeyboardInterrupt:
            _say("interrupted; finished parts are kept, and the same command continues from there")
            raise SystemExit(INTERRUPTED) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Symmetries of the loss as theorems that run: claims, checks and figures.",
    epilog="The JSON that --json writes is described in the documentation of the module symtheory.cli.",
)

JsonFlag = Annotated[bool, typer.Option("--json", help="Write JSON (schema 1) to standard output.")]
FigureName = Annotated[str, typer.Argument(help="Id of the figure, such as A3a; see 'symtheory list'.")]
ResultsFolder = Annotated[
    Path | None,
    typer.Option("--results", help="Folder of the results. Default: $SYMTHEORY_RESULTS, book/results or results."),
]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line.

    Args:
        arguments: Words after the program name; default those of the process.

    Raises:
        SystemExit: Always, with the exit code.
    """
    app(args=None if arguments is None else list(arguments), prog_name="symtheory")
    raise SystemExit(0)


def _version(wanted: bool) -> bool:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"symtheory {symtheory.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Options of the program itself."""


@app.command("list", help="The figures and their presets.")
def list_figures(as_json: JsonFlag = False) -> None:
    """Show the figures."""
    from symtheory.cli import documents, registry, render

    document = documents.list_document(registry.figures())
    _show(document, as_json, lambda: render.figures_table(document))


@app.command(help="Compute a figure. What was finished before an interruption is not computed again.")
def run(
    figure: FigureName,
    preset: Annotated[str, typer.Option(help="smoke, page or paper.")] = "page",
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    changes: Annotated[list[str] | None, typer.Option("--set", help="Change a setting: name=value.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Worker processes; 1 computes in this process.")] = 1,
    executor: Annotated[
        str, typer.Option(help="processes, dask (--jobs Dask workers here), or a Dask scheduler: tcp://host:port.")
    ] = "processes",
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for Dask workers while there are none.")
    ] = 60.0,
    results: ResultsFolder = None,
) -> None:
    """Compute a figure, check it, write it."""
    from symtheory.cli import registry, render, settings
    from symtheory.lab import runs, store
    from symtheory.lab.results import Results, name_of

    chosen = registry.pick(registry.figures(), figure, "figure", "list")
    name, config = _preset(chosen, preset)
    overrides = settings.parse(changes or [], config)
    root = _results_root(results)
    console = Console(stderr=True)
    with render.progress_bar(console, chosen.id) as follow, warnings.catch_warnings():
        warnings.simplefilter("always", store.StoreWarning)
        warnings.showwarning = lambda message, *_: _say(f"warning: {message}")  # type: ignore[assignment]
        runner = runs.executor_for(jobs, store.Store(store.default_root()), follow, executor, patience)
        _, record = runs.run_figure(chosen, name, overrides, device, runner, results_root=root)
    path = Results(root).path(record.figure, name_of(record.preset, record.overrides))
    out = Console()
    out.print(render.checks_table(record))
    out.print(Text(f"{path} ({record.wall_time_s:.1f} s)"), soft_wrap=True)


@app.command(help="Draw a computed figure and tell its claim, checks and provenance.")
def show(
    figure: FigureName,
    preset: Annotated[str | None, typer.Option(help="Name of the result. Default: the most telling one.")] = None,
    out: Annotated[Path | None, typer.Option(help="PNG file to write.")] = None,
    open_it: Annotated[bool | None, typer.Option("--open/--no-open", help="Open the drawing.")] = None,
    results: ResultsFolder = None,
) -> None:
    """Show a result."""
    from symtheory.cli import registry, render
    from symtheory.lab.files import write_atomic
    from symtheory.lab.results import Results

    chosen = registry.pick(registry.figures(), figure, "figure", "list")
    source = Results(_results_root(results))
    name = _best(source, chosen, preset)
    dataset, record = source.load(chosen.id, name)
    console = Console()
    console.print(Text(f"{chosen.id}  {chosen.title} ({chosen.source})"), style="bold")
    console.print(Text(chosen.claim))
    console.print(render.checks_table(record))
    console.print(render.provenance_table(record))
    draw = registry.plots().get(chosen.id)
    if draw is None:
        console.print("this figure has no drawing")
        return
    picture = io.BytesIO()
    draw(dataset).savefig(picture, format="png", dpi=150, bbox_inches="tight")
    path = _drawing_path(chosen.id, name) if out is None else out
    write_atomic(path, picture.getvalue())
    console.print(Text(f"drawn in {path}"), soft_wrap=True)
    if open_it if open_it is not None else _display():
        typer.launch(str(path))


@app.command(help="What has been computed, with which device and outcome, and what is missing.")
def status(as_json: JsonFlag = False, results: ResultsFolder = None) -> None:
    """Show the results there are."""
    from symtheory.cli import documents, registry, render
    from symtheory.lab.results import Results

    document = documents.status_document(registry.figures(), Results(_results_root(results)))
    _show(document, as_json, lambda: render.status_table(document))


@app.command(help="The claims of the papers and the verdicts that the recorded evidence carries.")
def claims(as_json: JsonFlag = False) -> None:
    """Show the ledger."""
    from symtheory.cli import documents, registry, render

    document = documents.claims_document(registry.ledger())
    _show(document, as_json, lambda: render.claims_table(document))


@app.command(help="Run the proof, the check and the controls of one claim.")
def verify(
    claim: Annotated[str, typer.Argument(help="Id of the claim, such as A.T1.1; see 'symtheory claims'.")],
    as_json: JsonFlag = False,
    seed: Annotated[int, typer.Option(help="Seed of the random instances.")] = 0,
) -> None:
    """Check a claim here and now."""
    from symtheory.cli import documents, registry, render

    theorem = registry.pick(registry.theorems(), claim, "claim", "claims")
    document = documents.verify_document(theorem, seed)
    _show(document, as_json, lambda: render.verify_table(document))
    if not document["as_declared"]:
        raise typer.Exit(1)


@app.command(help="Find the parameter symmetries of a network of your own.")
def inspect(
    model: Annotated[str, typer.Argument(help="The model as package.module:name; a class, a function or a module.")],
    inputs: Annotated[
        list[str],
        typer.Option("--input", help="Shape of an input, such as 1x3x32x32, or 1x8@100 for tokens below 100."),
    ],
    as_json: JsonFlag = False,
    seed: Annotated[int, typer.Option(help="Seed of the inputs and of the group elements.")] = 0,
) -> None:
    """Search a model for symmetries."""
    from symtheory.cli import documents, inspection
    from symtheory.discover import discover

    report = discover(inspection.model_of(model), inspection.inputs_of(inputs, seed), seed=seed)
    _show(documents.inspect_document(model, report), as_json, lambda: report)


def _show(document: dict[str, Any], as_json: bool, table: Any) -> None:
    """Write an object, as JSON or as a table."""
    if as_json:
        typer.echo(json.dumps(document, indent=1, allow_nan=False))
    else:
        Console().print(table())


def _say(message: str) -> None:
    """One line on standard error, as it is."""
    Console(stderr=True).print(Text(message), soft_wrap=True)


def _preset(figure: Any, wanted: str) -> tuple[str, Any]:
    """A preset with its name, whatever its case."""
    from symtheory.cli import registry

    return registry.pick({n: (n, c) for n, c in figure.presets.items()}, wanted, f"preset of {figure.id}", "list")


def _best(results: Any, figure: Any, wanted: str | None) -> str:
    """Name of the result to show."""
    from symtheory.cli import registry

    names = results.names(figure.id)
    if not names:
        place = f"{results.root / figure.id}"
        raise SymtheoryError(f"a result in {place}", "none", f"run 'symtheory run {figure.id} --preset smoke'")
    if wanted is None:
        return names[0]
    if wanted in names:
        return wanted
    remedy = f"run 'symtheory run {figure.id} --preset {wanted}'"
    raise SymtheoryError(*registry.unknown(wanted, names, f"result of {figure.id}", remedy))


def _results_root(named: Path | None) -> Path:
    """The folder of the results."""
    from symtheory.lab.results import default_root

    return default_root() if named is None else named


def _drawing_path(figure: str, name: str) -> Path:
    """Where a drawing goes: among what is built in a checkout, here elsewhere."""
    from symtheory.lab.results import checkout

    root = checkout()
    return (Path() if root is None else root / "build" / "figures") / f"{figure}-{name}.png"


def _display() -> bool:
    """Whether somebody sits in front of a screen."""
    if not sys.stdout.isatty():
        return False
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
