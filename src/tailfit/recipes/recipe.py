"""`Recipe`: the complete, validated configuration of a training, from the data's path to the correction of scores."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from tailfit.errors import ArgumentError, TailfitError
from tailfit.recipes.choices import Strict, one_of_kinds
from tailfit.recipes.data_keys import Data
from tailfit.recipes.document import Document, check_nesting, read
from tailfit.recipes.messages import as_data_error
from tailfit.recipes.modules import import_modules

if TYPE_CHECKING:
    Callback: TypeAlias = Any
    Correction: TypeAlias = Any
    Loss: TypeAlias = Any
    Metric: TypeAlias = Any
    Network: TypeAlias = Any
    Optimizer: TypeAlias = Any
    Sampler: TypeAlias = Any
    Schedule: TypeAlias = Any
    Stage: TypeAlias = Any
    Step: TypeAlias = Any
    Transform: TypeAlias = Any
else:  # types that are built when the module is imported
    from tailfit.recipes.catalogue import (
        Callback,
        Correction,
        Loss,
        Metric,
        Network,
        Optimizer,
        Sampler,
        Schedule,
        Stage,
        Step,
        Transform,
    )

__all__ = [
    "Averaging",
    "Column",
    "Compare",
    "EarlyStopping",
    "Events",
    "Quality",
    "Recipe",
    "Scheme",
    "load_recipe",
    "schema",
    "with_location",
]

_PositiveInt = Annotated[int, Field(ge=1)]
MAX_RUNS = 1000  # seeds of a comparison, and also remedies: each pair of them is a training
_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_SchemeName = Literal["balanced", "inverse", "inverse_sqrt", "effective_number", "median_frequency"]
_Weights = dict[str | int, _Weight]
_CORRECTING = ("BalancedSoftmax", "LogitAdjusted", "VectorScaling")


class EarlyStopping(Strict):
    """Early stopping on a validation metric; the weights of the best epoch are restored.

    Attributes:
        monitor: Name of the metric in the history.
        mode: Whether smaller (`min`) or larger (`max`) values are better; inferred from the name by default.
        patience: Number of epochs without improvement after which training stops.
        min_delta: Smallest change that counts as an improvement.
        start_from_epoch: First epoch that is monitored.
    """

    monitor: Annotated[str, Field(pattern=r"^val_")] = "val_balanced_accuracy"
    mode: Literal["min", "max"] | None = None
    patience: _PositiveInt = 10
    min_delta: _Weight = 0.0
    start_from_epoch: Annotated[int, Field(ge=0)] = 0


class Scheme(Strict):
    """A scheme of `tailfit.weights.class_weights` and its options."""

    scheme: _SchemeName
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    normalize: Literal["mean", "sum"] | None = "mean"


class Column(Strict):
    """A metadata column of sample weights, such as the reliability of each label."""

    column: Annotated[str, Field(min_length=1)]


class Quality(Strict):
    """Weights by the quality of the labels: see `tailfit.weights.label_quality`.

    A network is trained per fold of the training part, before the training itself, in the directory of the run.

    Attributes:
        scheme: `label_quality`.
        folds: Number of folds, stratified by class; no group is cut.
        method, adjusted: See `tailfit.weights.label_quality`; adjusted by default, except for `confident_joint`.
    """

    scheme: Literal["label_quality"] = "label_quality"
    folds: Annotated[int, Field(ge=2)] = 5
    method: Literal["self_confidence", "normalized_margin", "confident_joint"] = "self_confidence"
    adjusted: bool | None = None

    @model_validator(mode="after")
    def _check_adjusted(self) -> "Quality":
        if self.method == "confident_joint" and self.adjusted:
            raise ArgumentError(
                "method: confident_joint with adjusted: true",
                expected="one of them, because the method uses the thresholds itself",
                fix="remove adjusted",
            )
        return self


class Compare(Strict):
    """The remedies and seeds of `tailfit compare`.

    Attributes:
        vary: Remedies by name, each with the keys in which it differs from the recipe (`{}` is the recipe itself); or
            lists of values by key of the recipe, of which all combinations are compared. The first remedy is the
            baseline; list simple remedies first, because of about equally good ones the first is chosen.
        seeds: Number of seeds, 0, 1, ..., that each remedy is trained with.
        decide_on: Figure on the validation part that decides which remedy is chosen; `worst_class` is the smallest
            recall.
        folds: Number of folds of a nested comparison, at least 3: each is the test part once. By default the data have
            one test part.
        costs: With `decide_on: cost`, the cost of each prediction: a row for each true class, with a number for each
            predicted class, in the order of the class names.
    """

    vary: Annotated[dict[str, dict[str, Any] | list[Any]], Field(min_length=1)] | None = None
    seeds: Annotated[int, Field(ge=2, le=MAX_RUNS)] = 5
    decide_on: Literal["balanced_accuracy", "macro_f1", "worst_class", "cost"] = "balanced_accuracy"
    costs: list[list[_Weight]] | None = None
    folds: Annotated[int, Field(ge=3, le=100)] | None = None

    @model_validator(mode="after")
    def _check_costs(self) -> "Compare":
        if (self.decide_on == "cost") != (self.costs is not None):
            raise ArgumentError(
                f"decide_on: {self.decide_on} {'without' if self.costs is None else 'with'} costs",
                expected="costs together with decide_on: cost",
                fix="set both, or neither",
            )
        return self


class Averaging(Strict):
    """The mean of the weights of several steps or epochs, which replaces the last weights when training ends.

    Attributes:
        name: `ema`, an exponential mean over the steps, which is also what the validation part is measured with; or
            `swa`, the equal mean over the last epochs (`tailfit.callbacks.AverageWeights`).
        momentum: With `ema`, the share of the earlier mean at each step.
        epochs: With `swa`, the number of last epochs; by default a quarter of all.
    """

    name: Literal["ema", "swa"]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    epochs: _PositiveInt | None = None


class Events(Strict):
    """Rules for counting events and alarms in recordings; see `tailfit.evaluation.events`.

    Attributes:
        normal: Name of the class that is the absence of an event.
        alarm_after: Number of consecutive windows with the same prediction that raise an alarm.
    """

    normal: Annotated[str, Field(min_length=1)] | None = None
    alarm_after: _PositiveInt = 1


class Recipe(Strict):
    """The complete configuration of a training. Two runs of one recipe give the same numbers.

    Use `load_recipe` to create one from a YAML file, or from Python dicts and lists.

    Attributes:
        data: Location and split of the data; see `Data`.
        name: Name in tables and reports; by default the name of the recipe's file.
        backend: Keras backend; used by the command line only.
        network: Network of `tailfit.networks`; by default `mlp` if a record has one axis, and `cnn` otherwise.
        loss: Loss of `tailfit.losses`. It gets the class counts of the stream as sampled and weighted.
        optimizer: Optimizer of Keras.
        sampler: Sampler of `tailfit.samplers`; `Weighted` takes weights by class name and condition.
        class_weight: Name of a scheme, a `Scheme`, a schedule, or a weight for every class.
        sample_weight: Weights by class name and condition; or `{column: NAME}`, a column of the metadata.
        weights: `label_quality`, further weights by the quality of each label; see `Quality`.
        steps: Steps of `tailfit.steps`, applied in this order.
        transform: Augmentation of `tailfit.augment`, function `transform(batch, rng)` of the user, or a list of both,
            applied to training batches.
        metrics: Metrics of `tailfit.metrics`, computed during training and validation.
        stage: Second training stage, applied to the trained network: `RetrainClassifier` (cRT), `LearnScales` (LWS),
            `NormalizeClassifier` (tau-normalisation), `SmoothClassifier` (LOS), `BalanceClassifier` (weight balancing),
            `RidgeClassifier` (ridge regression) or `MiSLAS`, see `tailfit.stages`; or `DiVE`, see
            `tailfit.steps.DiVE`.
        correction: Correction of `tailfit.posthoc`, fitted on the validation part.
        batch_size, epochs, steps_per_execution: See `keras.Model.fit` and `keras.Model.compile`.
        parts: Number of parts of each batch, which define the numbers of a training on several workers; see
            `tailfit.Model.compile`.
        early_stopping: See `EarlyStopping`; without it all epochs are trained, and the last weights are kept.
        averaging: `ema` or `swa`, the weights averaged over steps or epochs; see `Averaging`.
        callbacks: Callbacks of Keras: `EarlyStopping`, `ReduceLROnPlateau`, `SwapEMAWeights`, `TerminateOnNaN`.
        log: `tensorboard` (event files in the run's directory) and `mlflow` (to the address in `$MLFLOW_TRACKING_URI`).
        events: How events in recordings are counted; see `Events`.
        seed: Seed of all random numbers.
        ensemble: Number of networks with different seeds, whose probabilities are averaged; each takes a training.
        compare: Remedies and seeds; see `Compare`.
    """

    data: Data
    name: str | None = None
    backend: Literal["jax", "tensorflow", "torch"] | None = None
    network: Network | None = None
    loss: Loss = Field(default="CrossEntropy", validate_default=True)
    optimizer: Optimizer = Field(default="Adam", validate_default=True)
    sampler: Sampler = Field(default="Shuffle", validate_default=True)
    class_weight: one_of_kinds(  # type: ignore[valid-type]
        null=None, text=_SchemeName, scheme=Scheme, mapping=_Weights, named=Schedule
    ) = None
    sample_weight: one_of_kinds(null=None, mapping=_Weights, column=Column) = None  # type: ignore[valid-type]
    weights: one_of_kinds(null=None, text=Literal["label_quality"], scheme=Quality) = None  # type: ignore[valid-type]
    steps: list[Step] = Field(default_factory=list)
    transform: one_of_kinds(  # type: ignore[valid-type]
        null=None,
        text=Transform,
        named=Transform,
        mapping=Transform,
        list=Annotated[list[Transform], Field(min_length=1)],
    ) = None
    metrics: list[Metric] = Field(default=["BalancedAccuracy"], validate_default=True)
    stage: Stage | None = None
    correction: Correction | None = None
    batch_size: _PositiveInt = 64
    epochs: _PositiveInt = 20
    steps_per_execution: _PositiveInt = 1
    parts: _PositiveInt = 1
    early_stopping: EarlyStopping | None = None
    averaging: one_of_kinds(  # type: ignore[valid-type]
        null=None, text=Literal["ema", "swa"], named=Averaging
    ) = None
    callbacks: list[Callback] = Field(default_factory=list)
    log: list[Literal["mlflow", "tensorboard"]] = Field(default_factory=list)
    events: Events | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    ensemble: Annotated[int, Field(ge=1, le=MAX_RUNS)] = 1
    compare: Compare | None = None

    @model_validator(mode="after")
    def _check_parts(self) -> "Recipe":
        if self.parts > self.batch_size:
            raise ArgumentError(
                f"parts: {self.parts} with batch_size: {self.batch_size}",
                expected="at least one sample in each part of a batch",
                fix=f"set parts to {self.batch_size} or less, or increase batch_size",
            )
        return self

    @model_validator(mode="after")
    def _check_ensemble(self) -> "Recipe":
        keys = {"log": bool(self.log), "parts": self.parts > 1, "weights": self.weights is not None}
        others = [key for key, given in keys.items() if given]
        if self.ensemble > 1 and others:
            raise ArgumentError(
                f"ensemble: {self.ensemble} with {others[0]}",
                expected="one of them, because an ensemble is several trainings",
                fix=f"remove {others[0]}, or train one network",
            )
        if self.ensemble > 1 and getattr(self.correction, "name", "") == "TauNorm":
            raise ArgumentError(
                f"ensemble: {self.ensemble} with the correction TauNorm",
                expected="a correction of scores: an ensemble has several last layers",
                fix="use the stage NormalizeClassifier, which each network gets, or another correction",
            )
        return self

    @model_validator(mode="after")
    def _check_averaging(self) -> "Recipe":
        names = [getattr(each, "name", "") for each in self.callbacks]
        kept = [name for name in names if name in ("EarlyStopping", "SwapEMAWeights")]
        if self.averaging is not None and (self.early_stopping is not None or kept):
            raise ArgumentError(
                f"averaging together with {kept[0] if kept else 'early_stopping'}",
                expected="one of them: each chooses the weights that are kept",
                fix="remove one of them",
            )
        averaging = self.averaging
        if isinstance(averaging, Averaging) and averaging.epochs is not None and averaging.epochs > self.epochs:
            raise ArgumentError(
                f"averaging: epochs: {averaging.epochs} with epochs: {self.epochs}",
                expected="a number of last epochs of the training",
                fix="decrease it, or leave it out for a quarter of the epochs",
            )
        return self

    @model_validator(mode="after")
    def _check_stage(self) -> "Recipe":
        if self.stage is not None and self.parts > 1:
            raise ArgumentError(
                f"stage: {self.stage.name} with parts: {self.parts}",
                expected="one of them: a stage is trained by one process",
                fix="remove parts",
            )
        return self

    @model_validator(mode="after")
    def _check_single_correction(self) -> "Recipe":
        loss, correction = getattr(self.loss, "name", ""), getattr(self.correction, "name", "")
        strength = getattr(self.correction, "tau", None)
        if correction == "LogitAdjustment" and loss in _CORRECTING and strength is not None:
            raise ArgumentError(
                f"the correction LogitAdjustment with the loss {loss}, which already corrects for the class shares",
                expected="one of them",
                fix="remove the correction, train with CrossEntropy, or set tau: null to fit it",
            )
        return self

    _folder: Path = PrivateAttr(default_factory=Path)
    _modules: dict[str, ModuleType] = PrivateAttr(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Base folder of its relative paths: that of its file, or the current one."""
        return self._folder

    @property
    def modules(self) -> Mapping[str, ModuleType]:
        """The user's modules whose functions it may name."""
        return self._modules

    def plain(self) -> dict[str, Any]:
        """Return the recipe as JSON-compatible dicts and lists, with all defaults filled in."""
        return self.model_dump(mode="json")

    def at(self, key: str) -> str:
        """Describe the location of a dotted key for messages: file, line, key."""
        return self._document.where(tuple(key.split(".")))

    @property
    def document(self) -> Document:
        """The parsed text, or the values, that the recipe was created from."""
        return self._document

    _document: Document = PrivateAttr(default_factory=lambda: Document(None))


def load_recipe(
    recipe: str | PathLike[str] | Mapping[str, Any] | Recipe | Document,
    *,
    modules: Sequence[str] | Mapping[str, ModuleType] = (),
    folder: str | PathLike[str] | None = None,
) -> Recipe:
    """Read and validate a recipe.

    Args:
        recipe: Path of a YAML file, or the same content as Python dicts and lists.
        modules: Your modules whose functions the recipe may name: importable names or paths of `.py` files, which are
            imported here; or imported modules by name. A recipe never runs code by itself.
        folder: Base folder of the recipe's relative paths; by default the file's folder, or the current one for a dict.
    Raises:
        DataError: If the recipe is invalid. The message names the file, line and key.
        ArgumentError: If a module can't be imported.

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
    imported = import_modules(modules)
    try:
        loaded = Recipe.model_validate(document.value, context={"modules": imported})
    except ValidationError as error:
        raise as_data_error(error, document) from None
    if loaded.name is None and document.lines:  # only parsed text has line numbers
        loaded = loaded.model_copy(update={"name": Path(document.name).stem})
    loaded._folder = Path(fspath(folder)).absolute() if folder is not None else document.folder or Path.cwd()
    loaded._modules, loaded._document = imported, document
    return loaded


def with_location(recipe: Recipe, key: str, error: TailfitError, more: str = "") -> TailfitError:
    """Return the error with the location of the recipe's key in front, and `more` added to its fix."""
    return type(error)(f"{recipe.at(key)}: {error.received}", expected=error.expected, fix=error.fix + more)


def schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe, with which editors complete and check keys, options and values.

    >>> sorted(schema()["required"])
    ['data']
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
