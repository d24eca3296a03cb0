"""`Classifier`: a network with its loss, sampler and weights as a scikit-learn estimator.

Each `fit` builds a new `tailfit.Model` and new `tailfit.Batches` from the parameters of the estimator, and never trains
or changes the parameters themselves. So clones, grid searches and repeated fits are independent of each other.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tailfit.arguments import whole_number
from tailfit.data import Arrays, Batches
from tailfit.data.source import Source, Subset
from tailfit.errors import ArgumentError, DataError
from tailfit.networks.fitted import ModelFn, Network, dense_network
from tailfit.samplers import Sampler, Sequential
from tailfit.schedules import Schedule
from tailfit.sklearn.ingredients import codes_of_weights, new_callbacks, new_loss, new_optimizer, new_steps
from tailfit.training import Model
from tailfit.training.generators import drawn_from, seeded
from tailfit.training.heads import from_logits_of
from tailfit.weights import class_weights

__all__ = ["Classifier"]


class Classifier(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier that trains a network with `tailfit.Model.fit`.

    There is no `partial_fit`, because samplers, class weights and class counts are computed from all data, not from a
    chunk. Use `warm_start` to continue training on all data.

    Args:
        model_fn: Function `model_fn(input_shape, num_classes)` that returns a `keras.Model` with C logits as output.
            It must be importable if the estimator is to be pickled; bind further arguments with `functools.partial`.
        loss: Name of a class in `tailfit.losses`; that class, or a `functools.partial` of it; a function that returns a
            loss, with any of the parameters `class_counts` and `from_logits`; or a loss, which each fit copies. Class
            counts are those of the training samples as sampled and weighted.
        sampler: A `tailfit.samplers.Sampler`; None means `Shuffle`.
        class_weight: A dict with a weight for every label, the name of a scheme (`"balanced"`), or a schedule.
        optimizer: Name of a Keras optimizer, an optimizer, which each fit copies, or a function that returns one.
        learning_rate: Learning rate, if the optimizer is given by name; None means Keras' default.
        epochs: Number of epochs trained by each call of `fit`.
        batch_size: Samples per step, in training and prediction.
        steps: Modifications of the training step from `tailfit.steps`; each fit copies them.
        augment: Function `augment(batch, rng) -> batch` for training samples; see `transform` of `tailfit.Batches`.
        callbacks: Keras callbacks, which each fit copies, or a function that returns a list of them.
        validation_fraction: Fraction of the samples held out for validation, stratified and weighted like the training
            samples; callbacks and `history_` get their `val_...` metrics. 0 means no validation.
        warm_start: Whether `fit` continues with the weights, the optimizer and the epoch number of the last fit.
        random_state: Seed of the weights, the sample order, the held-out samples and the steps, or a
            `numpy.random.RandomState`.
        run_eagerly: Whether to run training steps without compiling them.
        verbose: Verbosity of Keras' `fit`.
    Shapes: X is `(n, features)` or `(n, ...)`, floats, or anything that scikit-learn converts to floats (pandas,
        polars); y is `(n,)`, integers or strings; `predict_proba` returns `float64 (n, C)` in the order of `classes_`.
    Raises:
        ArgumentError: Raised by `fit` if a parameter is out of range, or contradicts another one.
        DataError: Raised by `fit` if there are fewer than two classes, or all weights of a class are 0.
        ValueError: Raised by scikit-learn's checks for missing values, shapes that differ from `fit`, and the like.

    Attributes:
        classes_: The C labels, sorted.
        history_: Metrics of the last `fit` by name, each a list with one number per epoch.
        n_iter_: Number of epochs trained.
        n_features_in_: Number of features.
        feature_names_in_: Names of the features, if X has column names.

    >>> from sklearn.model_selection import cross_val_predict
    >>> X, y = np.eye(2).repeat(20, axis=0), np.repeat(["leak", "ok"], 20)
    >>> classifier = Classifier(loss="LogitAdjusted", epochs=2, learning_rate=0.1, random_state=0)
    >>> classifier.fit(X, y).predict([[1.0, 0.0]]).tolist(), classifier.classes_.tolist()
    (['leak'], ['leak', 'ok'])
    >>> cross_val_predict(classifier, X, y, cv=2, method="predict_proba").shape
    (40, 2)
    """

    classes_: NDArray[Any]
    history_: dict[str, list[float]]
    n_iter_: int
    _network: Network

    def __init__(
        self,
        model_fn: ModelFn = dense_network,
        *,
        loss: Any = "CrossEntropy",
        sampler: Sampler | None = None,
        class_weight: Mapping[Any, float] | str | Schedule | None = None,
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        epochs: int = 10,
        batch_size: int = 64,
        steps: Sequence[Any] | None = None,
        augment: Callable[..., Any] | None = None,
        callbacks: Any = None,
        validation_fraction: float = 0.0,
        warm_start: bool = False,
        random_state: Any = None,
        run_eagerly: bool = False,
        verbose: int | str = 0,
    ) -> None:
        self.model_fn = model_fn
        self.loss = loss
        self.sampler = sampler
        self.class_weight = class_weight
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.steps = steps
        self.augment = augment
        self.callbacks = callbacks
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.random_state = random_state
        self.run_eagerly = run_eagerly
        self.verbose = verbose

    @property
    def model_(self) -> Model:
        """The trained `tailfit.Model`, whose outputs are usually logits."""
        check_is_fitted(self)
        return self._network.model

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None, groups: ArrayLike | None = None) -> Self:
        """Train on X and y.

        Args:
            X: Samples; see the class for shapes.
            y: Labels.
            sample_weight: Weight of each sample, `(n,)`, >= 0, multiplied with the class weights. Samples of weight 0
                are ignored.
            groups: Group of each sample, `(n,)`, such as its recording or machine: `validation_fraction` holds out
                whole groups.
        """
        warm = bool(self.warm_start) and hasattr(self, "_network")
        X, y = validate_data(self, X, y, reset=not warm, dtype=keras.config.floatx(), allow_nd=True)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        whole: Source = Arrays(X, codes, class_names=[str(label) for label in classes])
        if groups is not None:
            whole = whole.grouped(_checked_groups(groups, len(X)))
        if sample_weight is not None:
            sample_weight = _checked_weights(codes, sample_weight, classes)
            kept = np.flatnonzero(sample_weight)
            if len(kept) < len(whole):
                whole, sample_weight = Subset(whole, kept), sample_weight[kept]
        if len(classes) < 2:
            raise DataError(
                f"y with one class only, {classes.tolist()[0]!r}",
                expected="at least two classes",
                fix="add samples of another class, or stratify the split",
            )
        if warm:
            self._check_same_problem(X, classes)
        epochs = whole_number("epochs", self.epochs, least=1)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        batches, held_out = self._batches(whole, sample_weight, classes, seed)
        network = self._network if warm else Network(self.model_fn, X.shape[1:], len(classes), seed=seed)
        with seeded(seed + 1):
            loss, steps = new_loss(self.loss, batches), new_steps(self.steps)
        if network.optimizer is None:
            network.optimizer = new_optimizer(self.optimizer, self.learning_rate)
        network.model.compile(network.optimizer, loss, steps=steps, run_eagerly=bool(self.run_eagerly))
        done = self.n_iter_ if warm else 0
        with drawn_from(seed + 2):  # dropout without a seed, on torch
            history = network.model.fit(
                batches,
                initial_epoch=done,
                epochs=done + epochs,
                validation_data=held_out,
                callbacks=new_callbacks(self.callbacks),
                verbose=self.verbose,
            )
        self.classes_ = classes
        self.history_ = history.history
        self.n_iter_ = done + len(history.epoch)
        self._network = network
        self._gives_logits = from_logits_of(loss) is not False
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class with the highest score, `(n,)`."""
        scores = self._outputs(X)
        labels: NDArray[Any] = self.classes_[scores.argmax(axis=1)]
        return labels

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithms of `predict_proba`, for logits finite even where probabilities round to 0."""
        outputs = self._outputs(X)
        if self._gives_logits:
            return np.asarray(log_softmax(outputs, axis=1))
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(outputs) - np.log(outputs.sum(axis=1, keepdims=True)))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities of the classes, `(n, C)`.

        They hold for the class mix that the loss trains for: for example, for equally frequent classes after
        `LogitAdjusted` with tau 1, or after training on balanced batches. Where the loss is not a softmax of the plain
        outputs (`LDAM` scales cosines, `LogitNorm` divides by the norm), they rank the classes but are not calibrated.
        """
        return np.exp(self.predict_log_proba(X))

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=keras.config.floatx(), allow_nd=True)
        self._check_shape(X)
        # Pad to whole batches: one compiled program, and the result for a row does not depend on the number of rows.
        missing = -len(X) % self.batch_size
        padded = np.concatenate([X, np.zeros((missing, *X.shape[1:]), X.dtype)]) if missing else X
        outputs = self._network.model.predict(padded, batch_size=self.batch_size, verbose=0)
        return np.asarray(outputs[: len(X)], dtype=np.float64)

    def _batches(self, whole: Source, weights: Any, classes: NDArray[Any], seed: int) -> tuple[Batches, Batches | None]:
        train, held_out = self._divided(whole, seed)
        class_weight = codes_of_weights(self.class_weight, classes)
        if isinstance(class_weight, str):  # held-out samples get the class weights of the training samples
            class_weight = class_weights(train, cast(Any, class_weight))

        def batches(part: Source, sampler: Sampler | None, transform: Any) -> Batches:
            own = weights if weights is None or part is whole else weights[cast(Subset, part).indices]
            return Batches(part, self.batch_size, sampler, seed, class_weight, own, transform)

        of_train = batches(train, self.sampler, self.augment)
        return of_train, None if held_out is None else batches(held_out, Sequential(), None)

    def _divided(self, whole: Source, seed: int) -> tuple[Source, Source | None]:
        fraction = self.validation_fraction
        if fraction == 0:
            return whole, None
        if isinstance(fraction, bool) or not isinstance(fraction, int | float | np.floating) or not 0 < fraction < 1:
            raise ArgumentError(
                f"validation_fraction={fraction!r}", expected="a number in [0, 1)", fix="pass 0 for no validation"
            )
        train, held_out = whole.split(1 - fraction, fraction, seed=seed)
        return train, held_out

    def _check_shape(self, X: NDArray[Any]) -> None:
        expected = self._network.input_shape
        if X.shape[1:] != expected:
            raise DataError(
                f"X with samples of shape {X.shape[1:]}",
                expected=f"samples of shape {expected}, as in fit",
                fix="reshape X, or fit again",
            )

    def _check_same_problem(self, X: NDArray[Any], classes: NDArray[Any]) -> None:
        self._check_shape(X)
        if not np.array_equal(classes, self.classes_):
            raise DataError(
                f"y with the classes {', '.join(map(repr, classes.tolist()))} and warm_start=True",
                expected=f"the classes of the previous fit: {', '.join(map(repr, self.classes_.tolist()))}",
                fix="pass warm_start=False to train a new network",
            )


def _checked_weights(codes: NDArray[np.int64], given: ArrayLike, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the weights of the samples, one of which in each class is not 0."""
    weights: NDArray[np.float64] = check_array(given, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.shape != (len(codes),):
        raise ArgumentError(
            f"sample_weight of shape {weights.shape} for {len(codes)} samples",
            expected="one number per sample",
            fix="select the weights of the same samples as X and y",
        )
    # Batches refuses negative weights.
    empty = np.flatnonzero(np.bincount(codes[weights != 0], minlength=len(classes)) == 0)
    if len(empty):
        raise DataError(
            f"a sample_weight of zero for every sample of the class {classes.tolist()[empty[0]]!r}",
            expected="a weight above zero in every class of y",
            fix="remove the samples of the class from X and y",
        )
    return weights


def _checked_groups(groups: ArrayLike, samples: int) -> NDArray[Any]:
    keys = np.asarray(groups)
    if keys.shape != (samples,):
        raise ArgumentError(
            f"groups of shape {keys.shape} for {samples} samples",
            expected="one group per sample",
            fix="select the groups of the same samples as X and y",
        )
    return keys
