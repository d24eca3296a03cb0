"""`Classifier`: a network, its loss, sampler and weights as one scikit-learn estimator.

Underneath are a `tailfit.Model` and `tailfit.Batches`, made anew by each `fit`: what an estimator is configured with is
never trained, moved or counted in, so that clones, grid searches and repeated fits stay apart.
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
from tailfit.networks.fitted import ModelFn, Network, dense_network, seeded
from tailfit.samplers import Sampler, Sequential
from tailfit.schedules import Schedule
from tailfit.sklearn.ingredients import codes_of_weights, new_callbacks, new_loss, new_optimizer, new_steps
from tailfit.training import Model
from tailfit.training.heads import from_logits_of
from tailfit.weights import class_weights

__all__ = ["Classifier"]


class Classifier(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier around `tailfit.Model.fit`.

    It has no `partial_fit`: a class share, a class weight and a sampler are of the whole data, which a chunk does not
    show. `warm_start` goes on training on whole data.

    Args:
        model_fn: `model_fn(input_shape, num_classes)` returns a `keras.Model` that ends in C logits. To be pickled, the
            estimator needs a function that can be imported; `functools.partial` binds further arguments.
        loss: Name of a class of `tailfit.losses`; or that class, a `functools.partial` of it, or a function of those of
            `class_counts` and `from_logits` that it names, which returns a loss; or a loss, of which each fit trains
            with a copy. Class counts are those of the stream as sampled and weighted.
        sampler: A `tailfit.samplers.Sampler`; None shuffles.
        class_weight: A weight for every class by its label, the name of a scheme (`"balanced"`), or a schedule.
        optimizer: A name, an optimizer, of which each fit takes a copy, or a function that returns one.
        learning_rate: Of an optimizer given by name; None leaves Keras' default.
        epochs: Passes over the data that a call of `fit` adds.
        batch_size: Samples a step, also in prediction.
        steps: Changes of the training step from `tailfit.steps`; each fit trains with copies.
        augment: `augment(batch, rng) -> batch`, as the `transform` of `tailfit.Batches`; for training only.
        callbacks: Keras callbacks, of which each fit takes copies, or a function that returns a list.
        validation_fraction: Share of the samples held out of training, stratified, for `val_...` in callbacks and
            `history_`; weighted as the training samples are. 0 holds out none.
        warm_start: Whether another `fit` goes on with the weights, optimizer and epoch number of the last one.
        random_state: Seed of weights, order, held-out samples and steps; or a `numpy.random.RandomState`.
        run_eagerly: Whether steps run uncompiled.
        verbose: As in Keras' `fit`.
    Shapes: X `(n, features)` or `(n, ...)`, floats, or what scikit-learn turns into such (pandas, polars); y `(n,)`
        codes or strings; `predict_proba` `float64 (n, C)`, in the order of `classes_`.
    Raises:
        ArgumentError: in `fit`, for a parameter out of its range or that contradicts another one.
        DataError: in `fit`, for fewer than two classes, or a class whose weights are all 0.
        ValueError: as scikit-learn has it, for missing values, other shapes than in `fit` and the like.

    Attributes:
        classes_: The C labels, sorted.
        history_: Lists by name of the log, one number an epoch of the last `fit`.
        n_iter_: Epochs trained.
        n_features_in_, feature_names_in_: As in scikit-learn.

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
        """The trained `tailfit.Model`; it gives what its last layer gives, logits as a rule."""
        check_is_fitted(self)
        return self._network.model

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Train on X and y.

        Args:
            X, y: See the class.
            sample_weight: One number >= 0 a sample, multiplied with the class weights. A sample of weight 0 is left
                out, as if it were not there.
        """
        going_on = bool(self.warm_start) and hasattr(self, "_network")
        X, y = validate_data(self, X, y, reset=not going_on, dtype=keras.config.floatx(), allow_nd=True)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if sample_weight is not None:
            X, codes, sample_weight = _weighty(X, codes, sample_weight, classes)
        if len(classes) < 2:
            raise DataError(
                f"y of one class, {classes.tolist()[0]!r}", expected="two classes or more", fix="check y, or the split"
            )
        if going_on:
            self._check_alike(X, classes)
        epochs = whole_number("epochs", self.epochs, least=1)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        batches, held_out = self._batches(X, codes, sample_weight, classes, seed)
        network = self._network if going_on else Network(self.model_fn, X.shape[1:], len(classes), seed=seed)
        with seeded(seed + 1):
            loss, steps = new_loss(self.loss, batches), new_steps(self.steps)
        if network.optimizer is None:
            network.optimizer = new_optimizer(self.optimizer, self.learning_rate)
        network.model.compile(network.optimizer, loss, steps=steps, run_eagerly=bool(self.run_eagerly))
        done = self.n_iter_ if going_on else 0
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
        """The class with the highest score, `(n,)`."""
        scores = self._outputs(X)
        labels: NDArray[Any] = self.classes_[scores.argmax(axis=1)]
        return labels

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Logarithms of `predict_proba`, finite where that is rounded to 0."""
        outputs = self._outputs(X)
        if self._gives_logits:
            return np.asarray(log_softmax(outputs, axis=1))
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(outputs) - np.log(outputs.sum(axis=1, keepdims=True)))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of the classes, `(n, C)`.

        They are of the class mix that the loss trains for: after `LogitAdjusted` at tau 1, or on balanced batches, of
        one in which all classes are equally frequent. After a loss that is no softmax of the outputs as they are
        (`LDAM` scales cosines, `LogitNorm` divides by their norm) they rank the classes and are no more than that.
        """
        return np.exp(self.predict_log_proba(X))

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=keras.config.floatx(), allow_nd=True)
        self._check_shape(X)
        # Whole batches only: one compiled program, and what a row gets does not depend on how many come with it.
        missing = -len(X) % self.batch_size
        padded = np.concatenate([X, np.zeros((missing, *X.shape[1:]), X.dtype)]) if missing else X
        outputs = self._network.model.predict(padded, batch_size=self.batch_size, verbose=0)
        return np.asarray(outputs[: len(X)], dtype=np.float64)

    def _batches(
        self, X: NDArray[Any], codes: NDArray[np.int64], weights: Any, classes: NDArray[Any], seed: int
    ) -> tuple[Batches, Batches | None]:
        whole = Arrays(X, codes, class_names=[str(label) for label in classes])
        train, held_out = self._divided(whole, seed)
        class_weight = codes_of_weights(self.class_weight, classes)
        if isinstance(class_weight, str):  # held-out samples weigh as those trained on do
            class_weight = class_weights(train, cast(Any, class_weight))

        def batches(part: Source, sampler: Sampler | None, transform: Any) -> Batches:
            own = weights[part.indices] if weights is not None and isinstance(part, Subset) else weights
            return Batches(part, self.batch_size, sampler, seed, class_weight, own, transform)

        of_train = batches(train, self.sampler, self.augment)
        return of_train, None if held_out is None else batches(held_out, Sequential(), None)

    def _divided(self, whole: Source, seed: int) -> tuple[Source, Source | None]:
        fraction = self.validation_fraction
        if fraction == 0:
            return whole, None
        if isinstance(fraction, bool) or not isinstance(fraction, int | float | np.floating) or not 0 < fraction < 1:
            raise ArgumentError(
                f"validation_fraction={fraction!r}", expected="a number in [0, 1)", fix="0 holds out nothing"
            )
        train, held_out = whole.split(1 - fraction, fraction, seed=seed)
        return train, held_out

    def _check_shape(self, X: NDArray[Any]) -> None:
        expected = self._network.input_shape
        if X.shape[1:] != expected:
            raise DataError(
                f"X with samples of shape {X.shape[1:]}",
                expected=f"samples of shape {expected}, as in fit",
                fix="bring X into the shape it had, or fit again",
            )

    def _check_alike(self, X: NDArray[Any], classes: NDArray[Any]) -> None:
        self._check_shape(X)
        if not np.array_equal(classes, self.classes_):
            raise DataError(
                f"y with the classes {', '.join(map(repr, classes.tolist()))} under warm_start=True",
                expected=f"the classes of the fit before: {', '.join(map(repr, self.classes_.tolist()))}",
                fix="begin anew with warm_start=False",
            )


def _weighty(
    X: NDArray[Any], codes: NDArray[np.int64], given: ArrayLike, classes: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
    """Only the samples that have a weight, and the weights."""
    weights = check_array(given, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.shape != (len(X),):
        raise ArgumentError(
            f"sample_weight of shape {weights.shape} for {len(X)} samples",
            expected="one number a sample",
            fix="index the weights as X and y",
        )
    kept = weights != 0  # Batches refuses negative ones
    empty = np.flatnonzero(np.bincount(codes[kept], minlength=len(classes)) == 0)
    if len(empty):
        raise DataError(
            f"a sample_weight of zero for every sample of the class {classes.tolist()[empty[0]]!r}",
            expected="a weight above zero in every class of y",
            fix="leave the samples of the class out of X and y",
        )
    return (X, codes, weights) if kept.all() else (X[kept], codes[kept], weights[kept])
