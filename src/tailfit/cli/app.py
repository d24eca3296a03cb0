"""The commands and their help texts."""

from pathlib import Path
from typing import Annotated

import typer

import tailfit
from tailfit.cli.backends import Backend, choose_backend, choose_backend_of, read_recipe
from tailfit.cli.importing import imports_uncollected
from tailfit.cli.parameters import (
    BackendOption,
    DataArgument,
    FetchOption,
    JsonOption,
    ModulesOption,
    Part,
    ReaderOptions,
    RecipeArgument,
    SetOption,
    VerifyOption,
)
from tailfit.cli.recipe_app import recipe_app
from tailfit.cli.tool_commands import doctor, shell_completion

__all__ = ["app"]


_HELP = """Train Keras classifiers on long-tailed data, and measure which remedies help.

Start with `tailfit demo`, or with `tailfit inspect` on your own data.

Exit codes: 0 success, 1 a failed run or a problem found, 2 invalid input.
"""

app = typer.Typer(
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich's formatter takes twice the time of everything else in `tailfit --help`
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"tailfit {tailfit.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. May follow the name of the command.")
    ] = False,
) -> None:
    del version, debug  # handled by its callback, and by `tailfit.cli.process.main`


@app.command()
def demo(
    backend: Annotated[
        Backend | None, typer.Option(help="Keras backend.  [default: $KERAS_BACKEND, or the first one installed]")
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for the records, the models and the report.")
    ] = Path("tailfit-demo"),
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of all random numbers.")] = 0,
) -> None:
    """Train with plain Keras and with tailfit on long-tailed data.

    The data are scikit-learn's handwritten digits, of which rare classes keep few samples and some labels are wrong;
    nothing is downloaded. The report compares both models on the same test samples.

    Example: tailfit demo --out tailfit-demo
    """
    choose_backend(backend)
    with imports_uncollected():
        from tailfit.cli.demo import run_demo

    run_demo(out, seed)


@app.command()
def inspect(
    data: DataArgument,
    partition: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON file with the sample IDs of each part, to find duplicate records in different parts.",
        ),
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Out-of-fold probabilities, to find doubtful labels: a .npy file of shape (samples, classes), or a "
            "table with a column id and a column per class.",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Metadata column by which classes are counted, by default text columns with few different "
            "values. Can be repeated.",
        ),
    ] = None,
    option: ReaderOptions = None,
    as_json: JsonOption = False,
) -> None:
    """Check a data set for problems, and show its classes.

    Prints the number, shape and size of the records, the count of each class, also by group (-o group=well) and by
    columns of the metadata, classes that are in one group only, missing sensors, duplicate records and doubtful labels.
    Exits with code 1 for missing values, unreadable records, duplicates in different parts, and class names that are
    easily confused or look like missing values.

    Example: tailfit inspect faults -o label=cause
    """
    with imports_uncollected():
        from tailfit.cli.data import run_inspect

    if not run_inspect(data, partition, probabilities, option or [], by=by or [], as_json=as_json):
        raise typer.Exit(1)


@app.command()
def init(
    data: DataArgument,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Recipe to write.  [default: NAME.yaml for the data NAME]")
    ] = None,
    option: ReaderOptions = None,
    backend: BackendOption = None,
) -> None:
    """Write a recipe that fits a data set, with comments.

    Reads the data as `tailfit inspect` does. The recipe trains as written; what the data do not decide is a comment
    with the choices.

    Example: tailfit init faults -o label=cause
    """
    choose_backend(backend)
    with imports_uncollected():
        from tailfit.cli.drafting import run_init

    run_init(data, out, option or [])


@app.command()
def pack(
    data: DataArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to create.")],
    option: ReaderOptions = None,
) -> None:
    """Write a data set as a few large files, for fast reading.

    If the command is interrupted, the same command continues where it stopped.

    Example: tailfit pack faults faults-packed
    """
    with imports_uncollected():
        from tailfit.cli.data import run_pack

    run_pack(data, out, option or [])


@app.command()
def train(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Directory of the run.  [default: runs/NAME for the recipe NAME.yaml]"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Train on N processes of this machine; N divides the recipe's parts."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Start the workers on a Ray cluster: auto, local or HOST:PORT. Needs tailfit[ray].",
        ),
    ] = None,
    restarts: Annotated[
        int, typer.Option(metavar="N", min=0, help="With --workers: how often all start again after one was lost.")
    ] = 3,
    backend: BackendOption = None,
    module: ModulesOption = None,
    fetch: FetchOption = False,
    verify: VerifyOption = False,
    set: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the model of a recipe, and evaluate it.

    If the command is interrupted, the same command continues where it stopped. Started several times, by torchrun,
    srun or a Kubernetes job, the processes train together.

    Example: tailfit train faults.yaml -s loss.tau=0.5 --out runs/half
    """
    document = read_recipe(recipe, set, backend)
    with imports_uncollected():
        from tailfit.cli.training import run_train

    run_train(
        document,
        out or Path("runs") / recipe.stem,
        modules=module or [],
        fetch=fetch,
        verify=verify,
        workers=workers,
        ray=ray,
        restarts=restarts,
        as_json=as_json,
    )


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a finished run.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Evaluate on this data set: a folder, file or URL with the same classes."),
    ] = None,
    part: Annotated[Part, typer.Option(help="Part of the run's own data to evaluate on.")] = Part.TEST,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the evaluation to a .html or .json file.")
    ] = None,
    backend: BackendOption = None,
    module: ModulesOption = None,
    fetch: FetchOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate the model of a finished run again, also on other data.

    Example: tailfit evaluate runs/faults --data newer-faults
    """
    choose_backend_of(run, backend)
    with imports_uncollected():
        from tailfit.cli.recipes import run_evaluate

    run_evaluate(run, data=data, part=part.value, modules=module or [], fetch=fetch, out=out, as_json=as_json)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a finished run.")],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Data set: a folder, file or URL with records like those of the run.")
    ],
    out: Annotated[
        str,
        typer.Option(metavar="FILE", help="File to write: .parquet, .csv or .jsonl; - writes to standard output."),
    ],
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="parquet, csv or jsonl.  [default: by the file name, or jsonl for -]"),
    ] = None,
    abstain: Annotated[
        float,
        typer.Option(metavar="BELOW", help="Leave decisions with a confidence below this number to a person."),
    ] = 0.0,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Samples per batch.  [default: the recipe's, or more for small records]"),
    ] = None,
    backend: BackendOption = None,
    module: ModulesOption = None,
) -> None:
    """Predict the class of unlabelled samples with a finished run.

    Writes the ID, class, decision, confidence and scores of each sample. If the command is interrupted, the same
    command continues where it stopped.

    Example: tailfit predict runs/faults new-data --out predictions.parquet --abstain 0.8
    """
    choose_backend_of(run, backend)
    with imports_uncollected():
        from tailfit.cli.predicting import run_predict

    run_predict(run, data, out, format=format, abstain=abstain, batch_size=batch_size, modules=module or [])


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a finished run.")],
    out: Annotated[Path, typer.Option(metavar="PATH", help="New file, or new folder for saved_model.")],
    format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="keras, onnx, saved_model or torch.  [default: by the name, .keras, .onnx or .pt2]"
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Check the file with these records, instead of the run's test part: a folder, file or URL.",
        ),
    ] = None,
    backend: Annotated[
        Backend | None,
        typer.Option(help="Keras backend that writes ONNX.  [default: the run's, or one whose converter is installed]"),
    ] = None,
    module: ModulesOption = None,
    fetch: FetchOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a finished run as one file for programs without tailfit.

    The file takes raw records: it contains the filling of missing readings, normalisation, network and correction. It
    is written only if its scores are those of the run. ONNX needs tailfit[onnx], or tailfit[onnx-jax] if only JAX is
    installed; saved_model needs TensorFlow, torch needs PyTorch; the run may have used any backend.

    Example: tailfit export runs/faults --out faults.onnx
    """
    choose_backend_of(run, None)
    with imports_uncollected():
        from tailfit.cli.exporting import run_export

    run_export(run, out, format=format, data=data, backend=backend, modules=module or [], fetch=fetch, as_json=as_json)


@app.command()
def compare(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Directory of the comparison and its runs.  [default: runs/NAME-compared for the recipe NAME.yaml]",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", min=2, help="Number of seeds to train each remedy with.  [default: the recipe's]"),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Compare the remedies of a suite instead of the recipe's: standard."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="MINUTES", help="Planned time: stop remedies that fall behind on the validation part."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=3, help="For a small data set: divide it into folds, each of which is the test part once."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of runs that are trained side by side, each in a process.")
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Train the runs as tasks of a Ray cluster: auto, local or HOST:PORT. Needs tailfit[ray].",
        ),
    ] = None,
    backend: BackendOption = None,
    module: ModulesOption = None,
    fetch: FetchOption = False,
    verify: VerifyOption = False,
    set: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train every remedy of a recipe with several seeds, choose one, and compare.

    The remedies are the entries of `compare` in the recipe, or those of --suite. One is chosen on the validation part,
    and recommended.yaml is its recipe. The report shows on the test part which of them help, with confidence intervals.
    If the command is interrupted, the same command continues where it stopped. The results do not depend on --jobs.

    Example: tailfit compare faults.yaml --seeds 5
    """
    document = read_recipe(recipe, set, backend)
    with imports_uncollected():
        from tailfit.cli.comparing import run_compare

    place = out or Path("runs") / f"{recipe.stem}-compared"
    run_compare(
        document,
        place,
        seeds=seeds,
        modules=module or [],
        fetch=fetch,
        verify=verify,
        jobs=jobs,
        ray=ray,
        suite=suite,
        budget=budget,
        folds=folds,
        as_json=as_json,
    )


@app.command()
def suspects(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Directory of the results.  [default: runs/NAME-suspects for the recipe NAME.yaml]"
        ),
    ] = None,
    folds: Annotated[int, typer.Option(metavar="N", min=2, help="Number of folds, with a training each.")] = 5,
    top: Annotated[int, typer.Option(metavar="N", min=0, help="Number of samples to print.")] = 20,
    backend: BackendOption = None,
    module: ModulesOption = None,
    fetch: FetchOption = False,
    verify: VerifyOption = False,
    set: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the samples whose label is probably wrong.

    Each sample is judged by networks that were not trained on it or on its group. Writes suspects.csv, suspects.html
    and quality.parquet. If the command is interrupted, the same command continues where it stopped.

    Example: tailfit suspects faults.yaml
    """
    document = read_recipe(recipe, set, backend)
    with imports_uncollected():
        from tailfit.cli.suspects import run_suspects

    place = out or Path("runs") / f"{recipe.stem}-suspects"
    run_suspects(
        document, place, folds=folds, top=top, modules=module or [], fetch=fetch, verify=verify, as_json=as_json
    )


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Directories of finished runs, evaluated on the same samples; the first one is the baseline.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="HTML file to write.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Title of the page.")] = None,
) -> None:
    """Write an HTML page that compares finished runs.

    Example: tailfit report runs/faults runs/half --out both.html
    """
    with imports_uncollected():
        from tailfit.cli.reporting import run_report

    run_report(runs, out, title)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to search.")] = Path("runs"),
    sort: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column to sort by, with - in front in descending order."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="CONDITION", help="Show rows that match, e.g. \"state = 'done' AND accuracy > 0.9\"."),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="Also show the runs of each comparison.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show all runs and comparisons below a folder.

    States: running; done; ended before the end (the command that started it continues it); damaged.

    Example: tailfit runs --sort=-balanced_accuracy
    """
    with imports_uncollected():
        from tailfit.cli.runs import run_runs

    run_runs(folder, sort, where, all, as_json)


app.command()(doctor)
app.command(name="shell-completion")(shell_completion)
app.add_typer(recipe_app, name="recipe")
