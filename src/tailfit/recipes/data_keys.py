"""The key `data` of a recipe: where the samples are, how they are read and cut, and their split into parts."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tailfit.data.sources.window_labels import LabelRule
from tailfit.errors import ArgumentError
from tailfit.recipes.choices import Number, Strict, one_of_kinds

__all__ = ["Data", "Filling", "Resampling", "Shares", "WindowOptions"]

_PositiveInt = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(gt=0, lt=1)]
_Text = Annotated[str, Field(min_length=1)]
_Method = Literal["forward", "mean", "zero"]
_Duration = one_of_kinds(number=Annotated[Number, Field(gt=0)], text=_Text, null=None)
_RawLabels = list[bool | int | str]
_RESERVED = ("cache", "group", "nan", "path")  # arguments of `tailfit.data.open` that `data.options` can't set
_READER_KEYS = ("label", "classes", "drop", "resample", "max_gap")  # passed on to the reader if they are set


class Shares(Strict):
    """Fractions of the data for each part; the split is stratified by class as far as groups allow.

    Attributes:
        train, validation, test: Fractions that sum to one; `validation` may be null.
        by: Metadata column whose equal values stay in one part, in addition to `data.group`. Windows of one record
            always stay in one part.
        seed: Seed of the split. The recipe's `seed` does not affect it, so that runs stay comparable.
    """

    train: _Share = 0.7
    validation: _Share | None = 0.1
    test: _Share = 0.2
    by: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _check_sum(self) -> "Shares":
        shares = [share for share in (self.train, self.validation, self.test) if share is not None]
        if abs(sum(shares) - 1) > 1e-6:
            raise ArgumentError(
                f"shares {', '.join(f'{share:g}' for share in shares)}, which sum to {sum(shares):g}",
                expected="train, validation (default 0.1, or null) and test that sum to one",
                fix="set all three shares",
            )
        return self


class WindowOptions(Strict):
    """Options for windows cut from long records; see `tailfit.data.Windows`.

    Attributes:
        length, stride: Steps of a window, and between the starts of consecutive windows (default `length`).
        label: Rule for the label of a window if there is a label per step.
        onset: Number of steps after a change of class that are kept, for the rule `onset`.
    """

    length: _PositiveInt
    stride: _PositiveInt | None = None
    label: _Text = "last"
    onset: _PositiveInt | None = None

    @model_validator(mode="after")
    def _check_label(self) -> "WindowOptions":
        LabelRule(self.label, self.onset)
        return self


class Filling(Strict):
    """Method that replaces missing readings, and whether a channel per sensor marks them; see `FillMissing`."""

    method: _Method
    mask: bool = False


class Resampling(Strict):
    """Regular steps in place of irregular rows: their length, and the reading that a step has."""

    every: one_of_kinds(number=Annotated[Number, Field(gt=0)], text=_Text)  # type: ignore[valid-type]
    how: Literal["last", "mean"] = "last"


class Data(Strict):
    """The location of the samples, how they are read, and their split into parts.

    Attributes:
        path: Path for `tailfit.data.open`, relative to the recipe's folder.
        label: Column of the labels, for tables and recordings.
        classes: Raw labels of each class of recordings, in the order of the class indices.
        drop: Raw labels of recordings whose steps are left out.
        resample: Length of regular steps of recordings, in seconds or such as "10s".
        max_gap: Longest time between two rows of a recording; a longer gap ends it.
        options: Further options of the reader, such as `{id: pump}` for Parquet.
        group: Metadata column, or several, whose equal values are a group (a well, a machine, a patient). No group is
            in two parts, and intervals resample groups. By default windows of one record are a group.
        partition: JSON file of IDs by part name. Without it and `split`, the file `partition.json` next to the records
            is used.
        split: Fractions of the parts, if there is no partition.
        train_only: Condition on the metadata, such as "source != 'real'". Samples that match are in the training part;
            only the others are split.
        windows: Options for cutting the records into windows.
        fill_missing: Method that replaces NaN; without it NaN is an error.
        normalize: Whether each channel is scaled to mean 0 and standard deviation 1 of the training part.
    """

    path: _Text
    label: _Text | None = None
    classes: Annotated[dict[str, _RawLabels], Field(min_length=1)] | None = None
    drop: _RawLabels | None = None
    resample: one_of_kinds(  # type: ignore[valid-type]
        null=None, number=Annotated[Number, Field(gt=0)], text=_Text, mapping=Resampling
    ) = None
    max_gap: _Duration = None  # type: ignore[valid-type]
    options: dict[str, Any] = Field(default_factory=dict)
    group: one_of_kinds(null=None, text=_Text, list=Annotated[list[_Text], Field(min_length=1)]) = None  # type: ignore[valid-type]
    partition: _Text | None = None
    split: Shares | None = None
    train_only: _Text | None = None
    windows: WindowOptions | None = None
    fill_missing: one_of_kinds(null=None, text=_Method, mapping=Filling) = None  # type: ignore[valid-type]
    normalize: bool = True

    @property
    def reader_options(self) -> dict[str, Any]:
        """Options of the reader: those of `options`, and the keys of `data` that are passed on to it."""
        own = {key: getattr(self, key) for key in _READER_KEYS}
        if isinstance(self.resample, Resampling):
            own["resample"] = self.resample.model_dump()
        return {**self.options, **{key: value for key, value in own.items() if value is not None}}

    @property
    def filling(self) -> Mapping[str, Any] | None:
        """Arguments of `FillMissing.fit`; None if NaN is an error."""
        if isinstance(self.fill_missing, Filling):
            return self.fill_missing.model_dump()
        return None if self.fill_missing is None else {"method": self.fill_missing}

    @model_validator(mode="after")
    def _check_split_and_options(self) -> "Data":
        if self.partition is not None and self.split is not None:
            raise ArgumentError("both partition and split", expected="one of them", fix="remove one of the two keys")
        if self.partition is not None and self.train_only is not None:
            raise ArgumentError(
                "both partition and train_only",
                expected="train_only together with split, because a partition names all training samples itself",
                fix="add the samples to the part train of the partition, or use split",
            )
        reserved = sorted(self.options.keys() & set(_RESERVED))
        if reserved:
            raise ArgumentError(
                f"options with {reserved[0]!r}",
                expected="options of the reader of this format",
                fix="use data.path, data.group, data.fill_missing, or the environment variable TAILFIT_CACHE instead",
            )
        twice = [key for key in _READER_KEYS if key in self.options and getattr(self, key) is not None]
        if twice:
            raise ArgumentError(
                f"{twice[0]} both in data and in data.options", expected="one of them", fix=f"remove options.{twice[0]}"
            )
        return self
