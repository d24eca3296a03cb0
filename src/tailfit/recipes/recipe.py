"""`Recipe`: all that decides a training, from the data's path to the correction after it, as one checked document."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from tailfit.errors import ArgumentError
from tailfit.recipes.choices import Own, Strict, of_kinds
from tailfit.recipes.document import Document, check_nesting, read
from tailfit.recipes.messages import in_our_words
from tailfit.recipes.modules import imported_modules

if TYPE_CHECKING:
    Correction: TypeAlias = Any
    Loss: TypeAlias = Any
    Metric: TypeAlias = Any
    Network: TypeAlias = Any
    Optimizer: TypeAlias = Any
    Sampler: TypeAlias = Any
    Schedule: TypeAlias = Any
    Step: TypeAlias = Any
else:  # types that are made as the module is imported
    from tailfit.recipes.catalogue import Correction, Loss, Metric, Network, Optimizer, Sampler, Schedule, Step

__all__ = [
    "Column",
    "Compare",
    "Data",
    "EarlyStopping",
    "Recipe",
    "Scheme",
    "Shares",
    "WindowsOf",
    "load_recipe",
    "schema",
]

_Whole = Annotated[int, Field(ge=1)]
MOST_RUNS = 1000  # of a remedy in a comparison, and remedies: each is a training
_Share = Annotated[float, Field(gt=0, lt=1)]
_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_SchemeName = Literal["balanced", "inverse", "inverse_sqrt", "effective_number", "median_frequency"]
_Weights = dict[str | int, _Weight]
_CORRECTING = ("BalancedSoftmax", "LogitAdjusted", "VectorScaling")
_OURS = ("cache", "nan", "path")  # of `tailfit.data.open`, and not the user's to say among the options


class Shares(Strict):
    """Parts as shares of the whole, each class spread over them in proportion.

    Attributes:
        train, validation, test: Fractions that sum to one; `validation` may be left out.
        by: A metadata column: samples of equal value stay together (a run, a machine, a patient). Windows of one record
            always do.
        seed: Another seed, another split. The recipe's own seed does not change it: runs stay comparable.
    """

    train: _Share = 0.7
    validation: _Share | None = 0.1
    test: _Share = 0.2
    by: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Shares":
        shares = [share for share in (self.train, self.validation, self.test) if share is not None]
        if abs(sum(shares) - 1) > 1e-6:
            raise ArgumentError(
                f"shares {', '.join(f'{share:g}' for share in shares)}, which sum to {sum(shares):g}",
                expected="train, validation (0.1 unless said otherwise, or null) and test that sum to one",
                fix="say all three",
            )
        return self


class WindowsOf(Strict):
    """Windows cut out of long records; see `tailfit.data.Windows`."""

    length: _Whole
    stride: _Whole | None = None


class Data(Strict):
    """Where the samples are, and how they are divided.

    Attributes:
        path: What `tailfit.data.open` reads, relative to the recipe's folder.
        options: What the reader takes besides: `{label: cause}` of Parquet.
        partition: A JSON file of part names to IDs; without it and `split`, the `partition.json` beside the records.
        split: Shares, where there is no partition.
        windows: Cut the records into windows.
        fill_missing: What stands for NaN; without it NaN is an error.
        normalize: Whether each channel is brought to mean 0 and deviation 1, as measured on the training part.
    """

    path: Annotated[str, Field(min_length=1)]
    options: dict[str, Any] = Field(default_factory=dict)
    partition: Annotated[str, Field(min_length=1)] | None = None
    split: Shares | None = None
    windows: WindowsOf | None = None
    fill_missing: Literal["forward", "mean", "zero"] | None = None
    normalize: bool = True

    @model_validator(mode="after")
    def _one_division(self) -> "Data":
        if self.partition is not None and self.split is not None:
            raise ArgumentError("partition beside split", expected="one of them", fix="leave one out")
        ours = sorted(self.options.keys() & set(_OURS))
        if ours:
            raise ArgumentError(
                f"options with {ours[0]!r}",
                expected="what the reader takes of its own",
                fix="use data.path, data.fill_missing, or TAILFIT_CACHE in the environment",
            )
        return self


class EarlyStopping(Strict):
    """End when a figure of the validation part no longer gets better, and go back to the weights that had the best.

    Attributes:
        monitor: The figure, as in the history.
        mode: Whether small or large values are good; told from the name where it is left out.
        patience: Epochs without a better value.
        min_delta: How much better is better.
        start_from_epoch: Epochs before it do not count.
    """

    monitor: Annotated[str, Field(pattern=r"^val_")] = "val_balanced_accuracy"
    mode: Literal["min", "max"] | None = None
    patience: _Whole = 10
    min_delta: _Weight = 0.0
    start_from_epoch: Annotated[int, Field(ge=0)] = 0


class Scheme(Strict):
    """Class weights by a scheme of `tailfit.weights.class_weights`, with its options."""

    scheme: _SchemeName
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    normalize: Literal["mean", "sum"] | None = "mean"


class Column(Strict):
    """Sample weights that are a column of the metadata, such as how far each label can be trusted."""

    column: Annotated[str, Field(min_length=1)]


class Compare(Strict):
    """What `tailfit compare` trains.

    Attributes:
        vary: Remedies by name, each the keys in which it differs from the recipe (`{}`: the recipe itself); or, by key
            of the recipe, a list of what to put there, all combinations of them. The first is the baseline.
        seeds: How often each is trained, from seeds 0, 1, ...
    """

    vary: Annotated[dict[str, dict[str, Any] | list[Any]], Field(min_length=1)]
    seeds: Annotated[int, Field(ge=1, le=MOST_RUNS)] = 5


class Recipe(Strict):
    """All that decides a training. Two runs of one recipe give the same numbers.

    Made by `load_recipe`; a document of YAML, or the same in Python's dicts and lists.

    Attributes:
        data: `Data`.
        name: What tables and reports call it; the file's name without it.
        backend: Keras' backend, for the command line.
        network: Of `tailfit.networks.built_in`; `cnn` without it, `mlp` where a record has one axis.
        loss: Of `tailfit.losses`. Class counts are those of the stream as sampled and weighted.
        optimizer: Of Keras.
        sampler: Of `tailfit.samplers`; `Weighted` by weights of classes and conditions.
        class_weight: A scheme, one with options, or a weight for every class.
        sample_weight: Weights by class name and condition; or `{column: NAME}`, a column of the metadata.
        steps: Of `tailfit.steps`, in their order.
        transform: A function of yours, `transform(batch, rng)`.
        metrics: Of `tailfit.metrics`, shown while training.
        correction: Of `tailfit.posthoc`, fitted on the validation part.
        batch_size, epochs, steps_per_execution: As in Keras.
        early_stopping: `EarlyStopping`; without it all epochs are trained and the last weights are kept.
        seed: Decides all that is random.
        compare: `Compare`.
    """

    data: Data
    name: str | None = None
    backend: Literal["jax", "tensorflow", "torch"] | None = None
    network: Network | None = None
    loss: Loss = Field(default="CrossEntropy", validate_default=True)
    optimizer: Optimizer = Field(default="Adam", validate_default=True)
    sampler: Sampler = Field(default="Shuffle", validate_default=True)
    class_weight: of_kinds(  # type: ignore[valid-type]
        null=None, text=_SchemeName, scheme=Scheme, mapping=_Weights, named=Schedule
    ) = None
    sample_weight: of_kinds(null=None, mapping=_Weights, column=Column) = None  # type: ignore[valid-type]
    steps: list[Step] = Field(default_factory=list)
    transform: Own | None = None
    metrics: list[Metric] = Field(default=["BalancedAccuracy"], validate_default=True)
    correction: Correction | None = None
    batch_size: _Whole = 64
    epochs: _Whole = 20
    steps_per_execution: _Whole = 1
    early_stopping: EarlyStopping | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    compare: Compare | None = None

    @model_validator(mode="after")
    def _corrects_once(self) -> "Recipe":
        loss, correction = getattr(self.loss, "name", ""), getattr(self.correction, "name", "")
        strength = getattr(self.correction, "tau", None)
        if correction == "LogitAdjustment" and loss in _CORRECTING and strength is not None:
            raise ArgumentError(
                f"correction LogitAdjustment after the loss {loss}, which corrects for the class shares already",
                expected="one of them",
                fix="leave the correction out, train with CrossEntropy, or have tau: null fitted",
            )
        return self

    _folder: Path = PrivateAttr(default_factory=Path)
    _modules: dict[str, ModuleType] = PrivateAttr(default_factory=dict)

    @property
    def folder(self) -> Path:
        """What its paths are relative to: the folder of its file, or the current one."""
        return self._folder

    @property
    def modules(self) -> Mapping[str, ModuleType]:
        """The user's own modules that it may name functions of."""
        return self._modules

    def plain(self) -> dict[str, Any]:
        """The recipe as a document again, all defaults said."""
        return self.model_dump(mode="json")

    def at(self, place: str) -> str:
        """A place for messages: the file, the line, and the key."""
        return self._document.where(tuple(place.split(".")))

    @property
    def document(self) -> Document:
        """The text or values that it was made of."""
        return self._document

    _document: Document = PrivateAttr(default_factory=lambda: Document(None))


def load_recipe(
    recipe: str | PathLike[str] | Mapping[str, Any] | Recipe | Document,
    *,
    modules: Sequence[str] | Mapping[str, ModuleType] = (),
    folder: str | PathLike[str] | None = None,
) -> Recipe:
    """A recipe, checked.

    Args:
        recipe: The path of a YAML file, or the same in Python's dicts and lists.
        modules: Modules of yours that the recipe may name functions of: an importable name, or the path of a `.py`
            file, imported here; or modules by the names that the recipe calls them. A recipe by itself never runs code.
        folder: What its paths are relative to; without it the file's folder, or of a dict the current one.
    Raises:
        DataError: naming the file, line and key of what is wrong in it.
        ArgumentError: for a module that can't be imported.

    >>> recipe = load_recipe({"data": {"path": "faults"}, "loss": {"name": "LogitAdjusted", "tau": 0.5}})
    >>> recipe.loss.name, recipe.batch_size
    ('LogitAdjusted', 64)
    >>> load_recipe({"data": {"path": "faults"}, "los": "CrossEntropy"})
    Traceback (most recent call last):
    tailfit.errors.DataError: Received recipe, los: the unknown key 'los'. Expected ...
    """
    if isinstance(recipe, Recipe):
        return recipe
    document = read(recipe) if isinstance(recipe, str | PathLike) else recipe
    if not isinstance(document, Document):
        document = Document(document)
        check_nesting(document.value, document.name)
    imported = imported_modules(modules)
    try:
        made = Recipe.model_validate(document.value, context={"modules": imported})
    except ValidationError as error:
        raise in_our_words(error, document) from None
    if made.name is None and document.lines:  # it is a file's
        made = made.model_copy(update={"name": Path(document.name).stem})
    made._folder = Path(fspath(folder)).absolute() if folder is not None else document.folder or Path.cwd()
    made._modules, made._document = imported, document
    return made


def schema() -> dict[str, Any]:
    """The JSON schema of a recipe, for editors: keys, options and their values are completed and checked as you type.

    >>> sorted(schema()["required"])
    ['data']
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
