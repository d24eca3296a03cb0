"""Mixed samples: Mixup, Remix, MAMix, CutMix and CMO.

Concepts:
- *share*: one number lambda per batch, as in the authors' code, drawn from Beta(alpha, alpha).
- Losses are mixed instead of labels. So class indices stay class indices, and each label keeps its own sample weight,
  such as a class weight.
- Each batch is paired with itself in a random order.
"""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import checked_class_counts, checked_number
from tailfit.errors import ArgumentError, StepError
from tailfit.hyperparameters import as_scheduled, config_of, value_of
from tailfit.schedules import Schedule
from tailfit.steps.classes import by_class
from tailfit.steps.draws import beta, order_of
from tailfit.steps.tensors import as_floats, checked_seed, map_arrays
from tailfit.training.divisor import rows_of
from tailfit.training.shares import is_vector
from tailfit.training.step import Batch, Step, Target

__all__ = ["CMO", "CutMix", "MAMix", "Mixup", "Remix"]


def _checked_alpha(alpha: Any) -> Any:
    return checked_number(alpha, "alpha", fix=_ALPHA)


_ALPHA = "pass 0.2, which is usual for images, or 1 for uniform shares; 0 switches mixing off"


class _Mixing(Step):
    def __init__(self, *, alpha: float | Schedule, seed: int | None) -> None:
        self.alpha = as_scheduled(alpha, _checked_alpha, name="alpha", dtype=None)
        self.seed = checked_seed(seed)
        self.generator = keras.random.SeedGenerator(self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"alpha": config_of(self.alpha), "seed": self.seed}

    def _mixed(self, batch: Batch) -> tuple[Any, Any, Any]:
        """Return mixed inputs, the order of the partners, and the share >= 1/2 of each sample's own input.

        (i, j, lambda) and (j, i, 1 - lambda) are the same mixture, and an order is as likely as its inverse. So the
        sample's own share can always be the larger one, and metrics use the label that dominates.
        """
        share = beta(value_of(self.alpha), seed=self.generator)
        order = order_of(rows_of(batch.x), seed=self.generator)

        def mix(x: Any) -> Any:
            x = as_floats(x, purpose="mixes")
            part = ops.cast(share, x.dtype)
            return part * x + (1 - part) * ops.take(x, order, axis=0)

        return map_arrays(mix, batch.x), order, share


@keras.saving.register_keras_serializable(package="tailfit")
class Mixup(_Mixing):
    """Trains on `lambda * x_i + (1 - lambda) * x_j` with the loss `lambda * L(y_i) + (1 - lambda) * L(y_j)`.

    Args:
        alpha: Parameter of `lambda ~ Beta(alpha, alpha)`, >= 0; may follow a schedule. Lambda is drawn once per batch;
            the larger of lambda and 1 - lambda is the share of the sample itself.
        seed: Seed of the draws.
    Shapes: float inputs of any shape `(batch, ...)`, also in dicts and tuples; labels and weights of any form.
    Raises:
        ArgumentError: If `alpha < 0`.
        StepError: At the first step, if inputs are not floats.
    Source: Zhang et al. 2018, arXiv:1710.09412, section 2.

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((4,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(3)(inputs))
    >>> loss = tailfit.losses.CrossEntropy(from_logits=True)
    >>> model.compile("sgd", loss, steps=[tailfit.steps.Mixup(alpha=0.2, seed=0)])
    >>> history = model.fit(np.ones((8, 4)), np.arange(8) % 3, verbose=0)
    >>> np.isfinite(history.history["loss"]).tolist()
    [True]
    """

    def __init__(self, *, alpha: float | Schedule = 0.2, seed: int | None = None) -> None:
        super().__init__(alpha=alpha, seed=seed)

    def batch(self, model: keras.Model, batch: Batch) -> Batch:
        x, order, share = self._mixed(batch)
        own = [replace(target, share=target.share * share) for target in batch.targets]
        others = [_scaled(_taken(target, order), 1 - share) for target in batch.targets]
        return replace(batch, x=x, targets=(*own, *others))


@keras.saving.register_keras_serializable(package="tailfit")
class Remix(_Mixing):
    """Mixup that assigns the label of the rarer class alone, if one class is much rarer than the other.

    The share of the sample's own label is 0 if `n_i / n_j >= kappa and lambda < tau`, 1 if
    `n_i / n_j <= 1 / kappa and 1 - lambda < tau`, and lambda otherwise.

    Args:
        class_counts: Number of samples of each class: a sequence, or an object with `class_counts` such as a source
            or a `Batches`.
        alpha: Parameter of `lambda ~ Beta(alpha, alpha)`; see `Mixup`.
        kappa: Smallest ratio of counts at which the rarer label wins, >= 1.
        tau: Share of the more frequent class below which the rarer label wins, in [0, 1].
        seed: Seed of the draws.
    Shapes: inputs as in `Mixup`; labels as one array of class indices, one-hot or soft labels.
    Raises:
        ArgumentError: If a value is out of range.
        StepError: At the first step, if inputs are not floats.
    Source: Chou et al. 2020, arXiv:2007.03943, eq. 6.

    >>> import tailfit
    >>> tailfit.steps.Remix(class_counts=[900, 100], alpha=1.0).get_config()["kappa"]
    3.0
    """

    def __init__(
        self,
        *,
        class_counts: Any,
        alpha: float | Schedule = 1.0,
        kappa: float = 3.0,
        tau: float = 0.5,
        seed: int | None = None,
    ) -> None:
        super().__init__(alpha=alpha, seed=seed)
        self.class_counts = checked_class_counts(class_counts)
        self.kappa = checked_number(kappa, "kappa", least=1.0, fix="the authors use 3")
        self.tau = checked_number(tau, "tau", most=1.0, fix="the authors use 0.5")

    def batch(self, model: keras.Model, batch: Batch) -> Batch:
        x, order, share = self._mixed(batch)
        own, others = [], []
        for target in batch.targets:
            label_share = self._label_share(share, by_class(self.class_counts, target.y), order)
            own.append(_scaled(target, label_share))
            others.append(_scaled(_taken(target, order), 1 - label_share))
        return replace(batch, x=x, targets=(*own, *others))

    def _label_share(self, share: Any, counts: Any, order: Any) -> Any:
        partners = ops.take(counts, order, axis=0)
        to_partner = ops.logical_and(counts >= self.kappa * partners, share < self.tau)
        to_own = ops.logical_and(partners >= self.kappa * counts, 1 - share < self.tau)
        share = ops.broadcast_to(share, ops.shape(counts))
        return ops.where(to_partner, ops.zeros_like(share), ops.where(to_own, ops.ones_like(share), share))

    def get_config(self) -> dict[str, Any]:
        extra = {"class_counts": list(self.class_counts), "kappa": self.kappa, "tau": self.tau}
        return {**super().get_config(), **extra}


@keras.saving.register_keras_serializable(package="tailfit")
class MAMix(_Mixing):
    """Mixup whose labels change over at a margin that is larger for the rarer class.

    Where the partner has the share x of the input, the own label has the share 1 at x = 0, 1/2 at
    `m = n_i ** ratio / (n_i ** ratio + n_j ** ratio)`, 0 at x = 1, and is linear in between; n are the counts of the
    two classes. With a ratio of -1/4, m is the share of the margin that LDAM gives to class i. MAMix-DRW is this step
    together with deferred class weights, `class_weight=tailfit.schedules.Deferred(...)`.

    Args:
        class_counts: Number of samples of each class: a sequence, or an object with `class_counts`.
        alpha: Parameter of `lambda ~ Beta(alpha, alpha)`; see `Mixup`.
        ratio: Exponent of the counts, <= 0. With 0 this is Mixup.
        seed: Seed of the draws.
    Shapes: see `Remix`.
    Raises:
        ArgumentError: If a value is out of range.
        StepError: At the first step, if inputs are not floats.
    Source: Cheng et al. 2023, "From SMOTE to Mixup for deep imbalanced classification", TAAI; their code.

    >>> import tailfit
    >>> tailfit.steps.MAMix(class_counts=[900, 100]).get_config()["ratio"]
    -0.25
    """

    def __init__(
        self, *, class_counts: Any, alpha: float | Schedule = 1.0, ratio: float = -0.25, seed: int | None = None
    ) -> None:
        super().__init__(alpha=alpha, seed=seed)
        self.class_counts = checked_class_counts(class_counts)
        fix = "the authors use -0.25; 0 is Mixup"
        self.ratio = checked_number(ratio, "ratio", least=float(np.finfo("float32").min), most=0.0, fix=fix)

    def batch(self, model: keras.Model, batch: Batch) -> Batch:
        x, order, share = self._mixed(batch)
        margins = (np.array(self.class_counts) / np.max(self.class_counts)) ** self.ratio
        own, others = [], []
        for target in batch.targets:
            margin = by_class(tuple(margins), target.y)
            partner = ops.take(margin, order, axis=0)
            middle = ops.where(margin > 0, margin / ops.maximum(margin + partner, 1e-30), 0.5)
            part = 1 - share
            before = 1 - ops.divide_no_nan(part, 2 * middle)
            after = ops.divide_no_nan(share, 2 * (1 - middle))
            label_share = ops.where(part < middle, before, after)
            own.append(_scaled(target, label_share))
            others.append(_scaled(_taken(target, order), 1 - label_share))
        return replace(batch, x=x, targets=(*own, *others))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_counts": list(self.class_counts), "ratio": self.ratio}


@keras.saving.register_keras_serializable(package="tailfit")
class CutMix(_Mixing):
    """Pastes a box of one image, or an interval of one record, into another; labels share the loss by area.

    The box has `1 - lambda` of the area and a uniformly drawn centre, and is clipped at the border. The share is the
    fraction that the clipped box covers.

    Args:
        alpha: Parameter of `lambda ~ Beta(alpha, alpha)`, >= 0; may follow a schedule. Lambda is drawn once per batch.
        data_format: `"channels_last"` or `"channels_first"`, the position of the channel axis.
        seed: Seed of the draws.
    Shapes: one array: records `(batch, time, channels)`, images `(batch, height, width, channels)`, or volumes.
    Raises:
        ArgumentError: If a value is out of range.
        StepError: At the first step, if inputs have other shapes.
    Source: Yun et al. 2019, arXiv:1905.04899, eq. 1 and 2.

    >>> import keras, numpy as np, tailfit
    >>> step = tailfit.steps.CutMix(alpha=1.0, seed=3)
    >>> x = np.stack([np.zeros((10, 1)), np.ones((10, 1))]).astype("float32")
    >>> mixed = step.batch(None, tailfit.steps.Batch(x, (tailfit.steps.Target(np.array([0, 1])),)))
    >>> round(float(sum(target.share for target in mixed.targets)), 4)
    1.0
    """

    def __init__(
        self, *, alpha: float | Schedule = 1.0, data_format: str = "channels_last", seed: int | None = None
    ) -> None:
        super().__init__(alpha=alpha, seed=seed)
        if data_format not in ("channels_last", "channels_first"):
            raise ArgumentError(
                f"data_format={data_format!r}",
                expected="'channels_last' or 'channels_first'",
                fix="drop data_format for inputs (batch, time, channels) or (batch, height, width, channels)",
            )
        self.data_format = data_format

    def batch(self, model: keras.Model, batch: Batch) -> Batch:
        x = batch.x if keras.tree.is_nested(batch.x) else ops.convert_to_tensor(batch.x)
        if keras.tree.is_nested(x) or len(x.shape) < 3:
            raise StepError(
                "inputs of several arrays" if keras.tree.is_nested(x) else f"inputs of shape {tuple(x.shape)}",
                expected="one array (batch, time, channels) or (batch, height, width, channels)",
                fix="use Mixup, which mixes inputs of every shape",
            )
        folded = beta(value_of(self.alpha), seed=self.generator)
        coin = keras.random.uniform((), seed=self.generator) < 0.5
        inside = self._box(x, ops.where(coin, folded, 1 - folded))
        order = self._partners(batch)
        share = 1 - ops.mean(ops.cast(inside, "float32"))
        own = [replace(target, share=target.share * share) for target in batch.targets]
        others = [_scaled(_taken(target, order), 1 - share) for target in batch.targets]
        pairs = [_dominant_first(share, *pair) for pair in zip(own, others, strict=True)]
        targets = (*(first for first, _ in pairs), *(second for _, second in pairs))
        return replace(batch, x=ops.where(inside, ops.take(x, order, axis=0), x), targets=targets)

    def _partners(self, batch: Batch) -> Any:
        """Return the row of the sample that is pasted into each sample, `int32 (batch,)`."""
        return order_of(rows_of(batch.x), seed=self.generator)

    def _box(self, x: Any, share: Any) -> Any:
        """Return where to paste the other sample: `bool`, with axes of size 1 for the batch and the channels."""
        axes = range(1, len(x.shape) - 1) if self.data_format == "channels_last" else range(2, len(x.shape))
        inside = None
        for axis in axes:
            length = ops.cast(ops.shape(x)[axis], "float32")
            half = ops.floor(ops.floor(length * (1 - share) ** (1 / len(axes))) / 2)
            centre = ops.floor(length * keras.random.uniform((), seed=self.generator))
            shape = [-1 if axis == own else 1 for own in range(len(x.shape))]
            positions = ops.reshape(ops.cast(ops.arange(ops.shape(x)[axis]), "float32"), shape)
            within = ops.logical_and(positions >= centre - half, positions < centre + half)
            inside = within if inside is None else ops.logical_and(inside, within)
        return inside

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


@keras.saving.register_keras_serializable(package="tailfit")
class CMO(CutMix):
    """CutMix that pastes parts of rare classes into the batch: context-rich minority oversampling.

    The samples into which parts are pasted are those of the batch. Those that are pasted are drawn from it with
    replacement and probabilities in proportion to `1 / count ** power` of their class, so that rare classes appear in
    the contexts of frequent ones. (The authors draw them from the whole training set; a batch needs samples of rare
    classes.) Let alpha fall to 0 for the last epochs, as the authors switch the method off there:
    `alpha=tailfit.schedules.Piecewise(...)`.

    Args:
        class_counts: Number of samples of each class: a sequence, or an object with `class_counts`.
        alpha: See `CutMix`.
        power: Exponent of the counts, >= 0. With 1 all classes are pasted about equally often.
        probability: Probability that a batch is mixed, in [0, 1]; the authors use 1/2.
        data_format, seed: See `CutMix`.
    Shapes: inputs as in `CutMix`; labels as one array of class indices, one-hot or soft labels.
    Raises:
        ArgumentError: If a value is out of range.
        StepError: At the first step, if inputs have other shapes.
    Source: Park et al. 2022, arXiv:2112.00412, section 3 and algorithm 1.

    >>> import tailfit
    >>> tailfit.steps.CMO(class_counts=[900, 100]).get_config()["probability"]
    0.5
    """

    def __init__(
        self,
        *,
        class_counts: Any,
        alpha: float | Schedule = 1.0,
        power: float = 1.0,
        probability: float = 0.5,
        data_format: str = "channels_last",
        seed: int | None = None,
    ) -> None:
        super().__init__(alpha=alpha, data_format=data_format, seed=seed)
        self.class_counts = checked_class_counts(class_counts)
        self.power = checked_number(power, "power", fix="use 1, or 1/2 for a weaker correction")
        self.probability = checked_number(probability, "probability", most=1.0, fix="the authors use 0.5")

    def _partners(self, batch: Batch) -> Any:
        weights = (np.array(self.class_counts) / np.min(self.class_counts)) ** -self.power
        ends = ops.cumsum(by_class(tuple(weights), batch.targets[0].y))
        drawn = keras.random.uniform(ops.shape(ends), seed=self.generator) * ends[-1]
        before = ops.expand_dims(ends, 0) <= ops.expand_dims(drawn, 1)
        # Rounding may give the end itself.
        return ops.minimum(ops.sum(ops.cast(before, "int32"), axis=1), rows_of(batch.x) - 1)

    def _box(self, x: Any, share: Any) -> Any:
        inside = super()._box(x, share)
        return ops.logical_and(inside, keras.random.uniform((), seed=self.generator) < self.probability)

    def get_config(self) -> dict[str, Any]:
        own = {"class_counts": list(self.class_counts), "power": self.power, "probability": self.probability}
        return {**super().get_config(), **own}


def _taken(target: Target, order: Any) -> Target:
    """Return the labels and weights of the partners."""
    y, weight = map_arrays(lambda part: ops.take(part, order, axis=0), (target.y, target.sample_weight))
    share = ops.take(target.share, order, axis=0) if is_vector(target.share) else target.share
    return Target(y, weight, share)


def _scaled(target: Target, share: Any) -> Target:
    return replace(target, share=target.share * share)


def _dominant_first(share: Any, own: Target, other: Target) -> tuple[Target, Target]:
    dominates = share >= 0.5

    def chosen(first: Target, second: Target) -> Target:
        fields = [
            map_arrays(lambda a, b: ops.where(dominates, a, b), getattr(first, name), getattr(second, name))
            for name in ("y", "sample_weight", "share")
        ]
        return Target(*fields)

    return chosen(own, other), chosen(other, own)
