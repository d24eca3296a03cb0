"""`tailfit.Model`: a `keras.Model` whose steps are written once for every backend."""

import inspect
from contextlib import nullcontext
from typing import Any

import keras

from tailfit import keras_private as private
from tailfit.counting import uncounted
from tailfit.data import Batches
from tailfit.data.breakdown import warn_of_single_groups
from tailfit.data.feeding.fields import split_fields
from tailfit.errors import ArgumentError, StepError
from tailfit.training.backends import engine
from tailfit.training.backends.epoch_results import logs_of_step
from tailfit.training.backends.idle_hooks import idle_hooks_skipped
from tailfit.training.class_weight import with_class_weight_checked
from tailfit.training.divisor import rows_of
from tailfit.training.feed import EpochMarker, Feed, as_feed, reading
from tailfit.training.gradients import scaled_by, value_and_grad
from tailfit.training.heads import refuse_contradicting_heads
from tailfit.training.outputs import Given, labels_checked
from tailfit.training.parts.loop import PartsLoop, checked_parts, refuse_own_step
from tailfit.training.reported import loss_counted, report_whole_epochs
from tailfit.training.scheduled import scheduled_by, with_markers
from tailfit.training.step_runner import Runner
from tailfit.training.validation import weighted_validation
from tailfit.training.whole_fit import within_whole_fits
from tailfit.workers import place

__all__ = ["Model"]

Logs = dict[str, Any]

_Trainer: Any = engine.Trainer  # a name, since type checkers take no attribute of an object as a base class


@keras.saving.register_keras_serializable(package="tailfit")
class Model(_Trainer):
    """A `keras.Model` whose `train_step(self, data)` has the same signature and body on every backend.

    Use it as `keras.Model`, functional or subclassed: `compile`, `fit`, `evaluate`, `predict`, `save` and `load_model`
    are the same. To customise training, override `train_step`, `test_step` or `predict_step`, all `(self, data)`. They
    may read and assign any Keras state: other optimizers, metrics, seeds, variables of any object.

    Without an overridden step, training gives the weights of `keras.Model` to the bit. Keras' behaviour is changed in
    three places, where it differs between backends or reports a wrong number:

    - On JAX, values that a layer assigns in its `call` (SpectralNormalization, stateful recurrent layers) are kept,
      and masks reach the metrics, as on TensorFlow and PyTorch.
    - A `loss` in the logs of a custom step that did not update the loss metric is averaged; Keras reports 0.
    - `fit` keeps the order of a `tailfit.Batches` in every epoch, whatever `shuffle=` is.

    Raises:
        ArgumentError: If `from_logits` of a compiled loss contradicts the activation of the output layer; or if `fit`
            is given a `Batches` together with an argument that the `Batches` determines.
        StepError: If a step has the JAX-only signature `(self, state, data)`.

    >>> import keras, numpy as np, tailfit
    >>> class Mine(tailfit.Model):
    ...     def train_step(self, data):
    ...         x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    ...         def forward():
    ...             y_pred = self(x, training=True)
    ...             return self.compute_loss(x, y, y_pred, sample_weight), y_pred
    ...         (loss, y_pred), gradients = tailfit.value_and_grad(forward, self.trainable_variables)
    ...         self.optimizer.apply(gradients, self.trainable_variables)
    ...         return self.update_metrics(loss, x, y, y_pred, sample_weight)
    >>> inputs = keras.Input((3,))
    >>> model = Mine(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(np.ones((8, 3)), np.full((8, 1), 3.0), verbose=0)
    >>> history.history["loss"]
    [0.0]
    """

    _tailfit_runner: Runner | None = None  # runs the steps passed to compile
    _tailfit_parts = 1
    train_function: Any
    _tailfit_loop: PartsLoop | None = None  # made by the first fit by parts

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if private.functional_init_arguments(args, kwargs) and not isinstance(self, private.Functional):
            self.__class__ = _functional_twin(type(self))
        super().__init__(*args, **kwargs)

    # -- the steps -------------------------------------------------------------------------------------

    def train_step(self, data: Any) -> Logs:
        """Train on one batch; `fit` runs this as its compiled step. Override it to customise training.

        Args:
            data: `(x,)`, `(x, y)` or `(x, y, sample_weight)`, tensors of `batch` rows.
        Returns:
            The logs: a dict of scalars, usually the result of `update_metrics`.
        """
        if self._tailfit_runner is not None:
            return self._tailfit_runner.train_step(self, data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

        def forward() -> tuple[Any, Any]:
            y_pred = private.call_model(self, x, training=True)
            return private.compute_loss(self, x, y, y_pred, sample_weight, training=True), y_pred

        variables = self.trainable_variables  # read once: Keras walks all layers to list them
        if not variables:  # all layers frozen: as Keras does, update the metrics only
            loss, y_pred = forward()
        else:
            (loss, y_pred), gradients = value_and_grad(forward, variables)
            self.optimizer.apply(gradients, variables)
        return self.update_metrics(loss, x, y, y_pred, sample_weight)

    def test_step(self, data: Any) -> Logs:
        """Evaluate one batch, in `evaluate` and in the validation of `fit`; see `train_step`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = private.call_model(self, x, training=False)
        loss = private.compute_loss(self, x, y, y_pred, sample_weight, training=False)
        return self.update_metrics(loss, x, y, y_pred, sample_weight)

    def predict_step(self, data: Any) -> Any:
        """Return the outputs for one batch of `predict`; see `train_step`."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return private.call_model(self, x, training=False)

    def update_metrics(self, loss: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Logs:
        """Update the mean loss and the compiled metrics with one batch.

        Args:
            loss: Scalar loss of the batch. The mean over the epoch weights batches by their number of samples. A
                compiled loss that divides by something else (`reduction="mean_with_sample_weight"` or `"sum"`, a
                mask) is reported as if the whole epoch were one batch.
            x, y, y_pred, sample_weight: See `keras.Model.compute_metrics`.
        Returns:
            The logs: the current value of every metric of the model, with `loss`.
        """
        private.loss_tracker(self).update_state(private.unscale_loss_for_distribution(loss), sample_weight=rows_of(x))
        logs: Logs = self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
        return logs

    def _run_train_step(self, data: Any) -> Logs:
        with logs_of_step(self, "train"), scaled_by(self), loss_counted(self, data) as counted:
            logs: Logs = counted(self.train_step(data))
        return logs

    def _run_test_step(self, data: Any) -> Logs:
        with logs_of_step(self, "test"), loss_counted(self, data) as counted, uncounted():
            logs: Logs = counted(self.test_step(data))
        return logs

    # -- compile, fit, evaluate, predict ---------------------------------------------------------------

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, *, steps: Any = None, parts: int = 1, **kwargs: Any
    ) -> None:
        """Configure training; see `keras.Model.compile` for the other arguments.

        Args:
            optimizer, loss: See `keras.Model.compile`.
            steps: List of changes of the default training step, from `tailfit.steps`; the first is the outermost.
            parts: Number of pieces of each batch, which `fit` trains on one by one and then combines. Any number of
                workers that divides it ends with the same numbers; see the page "On several machines".
        Raises:
            ArgumentError: If `from_logits` of a loss contradicts the activation of its output layer, or `parts` is not
                a whole number >= 1.
            StepError: If `steps` or `parts` is passed to a model with its own `train_step`, or `steps` has an object
                that is not a step.
        """
        if steps and type(self).train_step is not Model.train_step:
            raise StepError(
                f"steps= for {type(self).__name__}, which overrides train_step",
                expected="steps= with the default train_step, or an overridden train_step without steps=",
                fix="write your train_step as a tailfit.steps.Step, or drop steps=",
            )
        parts = checked_parts(parts)
        if parts > 1 and type(self).train_step is not Model.train_step:
            raise refuse_own_step(type(self), f"parts={parts}")
        runner = Runner(steps) if steps else None
        refuse_contradicting_heads(self, loss)
        if runner is not None:
            runner.prepare(self)
        super().compile(optimizer=optimizer, loss=loss, **kwargs)
        report_whole_epochs(self)
        self._tailfit_runner, self._tailfit_parts, self._tailfit_loop = runner, parts, None

    @property
    def trainable_variables(self) -> list[Any]:
        """The trainable weights of the layers, followed by those of the compiled `steps`."""
        return self._with_those_of_steps(super().trainable_variables)

    @property
    def trainable_weights(self) -> list[Any]:
        """The same; Keras uses it where an optimizer averages weights."""
        return self._with_those_of_steps(super().trainable_weights)

    def _with_those_of_steps(self, variables: list[Any]) -> list[Any]:
        return variables if self._tailfit_runner is None else [*variables, *self._tailfit_runner.trainable_variables]

    def get_compile_config(self) -> Logs:
        config: Logs = super().get_compile_config()
        if config and self._tailfit_runner is not None:
            config["steps"] = [keras.saving.serialize_keras_object(step) for step in self._tailfit_runner.steps]
        if config and self._tailfit_parts > 1:
            config["parts"] = self._tailfit_parts
        return config

    def compile_from_config(self, config: Logs) -> None:
        if type(self).compile is not Model.compile:
            super().compile_from_config(config)  # it warns that a custom compile() must be called by hand
            return
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is None or force:
            _refuse_stateless(type(self).train_step, "train_step")
        super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> None:
        if self.test_function is None or force:
            _refuse_stateless(type(self).test_step, "test_step")
        super().make_test_function(force)

    def make_predict_function(self, force: bool = False) -> None:
        if self.predict_function is None or force:
            _refuse_stateless(type(self).predict_step, "predict_step")
        super().make_predict_function(force)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        validation_class_weight: Any = None,
    ) -> keras.callbacks.History:
        """Train the model; `keras.Model.fit`, where `x` and `validation_data` may be a `tailfit.Batches`.

        The batches of epoch `e` are `batches.indices(e, step)` for step 0, 1, ..., whatever `shuffle` is.

        Args:
            x, y, batch_size, epochs, verbose, callbacks, validation_split, validation_data: See `keras.Model.fit`.
            shuffle, initial_epoch, steps_per_epoch, validation_steps, validation_batch_size, validation_freq: See
                `keras.Model.fit`.
            class_weight, sample_weight: See `keras.Model.fit`. With a `Batches` both take the forms that `Batches`
                takes (one sample weight for each sample of the source), and multiply with the weights it has for this
                fit. The `class_counts` of the `Batches`, which a loss may have been given, do not include them.
            validation_class_weight: Weight of each class in `validation_data`, which makes `val_loss` comparable with
                a `loss` under `class_weight`; Keras leaves it unweighted.
        Raises:
            ArgumentError: If `batch_size`, `y` or `steps_per_epoch` is passed with a `Batches`; if `class_weight` with
                arrays would not weigh samples by their class (see `tailfit.weights`); if labels are missing, or have
                no output of the model.
        Warns:
            DataWarning: If the source of a `Batches` has groups, and all samples of a class are in one of them.
        """
        call = {
            "x": x,
            "y": y,
            "batch_size": batch_size,
            "epochs": epochs,
            "verbose": verbose,
            "callbacks": callbacks,
            "validation_split": validation_split,
            "validation_data": validation_data,
            "shuffle": shuffle,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "initial_epoch": initial_epoch,
            "steps_per_epoch": steps_per_epoch,
            "validation_steps": validation_steps,
            "validation_batch_size": validation_batch_size,
            "validation_freq": validation_freq,
        }
        if isinstance(x, Batches):
            warn_of_single_groups(x.source, "training data")
            call.update(x=x.weighted(class_weight, sample_weight), class_weight=None, sample_weight=None)
        if validation_class_weight is not None:
            call["validation_data"] = weighted_validation(validation_data, validation_class_weight)
        with within_whole_fits(self, call):
            return self._fit(call)

    def _fit(self, call: Logs) -> Any:
        feed, validation = as_feed(call.get("x"), "training"), as_feed(call.get("validation_data"), "evaluation")
        call.update(x=feed, validation_data=validation)
        self._carry_fields(feed)
        with_class_weight_checked(call)
        markers = scheduled_by(self)
        if isinstance(feed, Feed):
            _refuse_set_by_batches(call)
            call["shuffle"] = False
            markers.append(EpochMarker(feed))
        if isinstance(validation, Feed) and validation.batches.class_weight_schedule is not None:
            markers.append(EpochMarker(validation))  # its weights follow the schedule, too
        given = Given(
            "labels" if isinstance(feed, Feed) else "y",
            feed,
            call.get("y"),
            call.get("sample_weight"),
            call.get("class_weight"),
        )
        given_validation = Given.validation(validation) if validation is not None else None
        checked = labels_checked(self, given, given_validation, training=True)
        loop = self._parts_loop()
        by_parts = nullcontext() if loop is None else loop.fitting(feed, self._evaluated_by_parts(validation), call)
        hold = getattr(self, "_hold", None)  # of JAX's trainer
        for data in (feed, validation):
            if hold is not None and loop is None and isinstance(data, Feed):
                hold(data)
        with reading(feed, validation), with_markers(call, markers), checked, by_parts, idle_hooks_skipped():
            return _Trainer.fit(self, **call)

    def _carry_fields(self, feed: Any) -> None:
        """Let the batches of a feed carry the values of each sample that steps ask for."""
        if self._tailfit_runner is None:
            return
        batches = feed.batches if isinstance(feed, Feed) else None
        fields, created = self._tailfit_runner.fields(None if batches is None else batches.source)
        if batches is not None:
            feed.batches = batches.with_fields(fields)
        if created:  # programs compiled by an earlier fit use the variables of that time
            self.train_function, self._tailfit_loop = None, None

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        # Before training, Keras calls the model with a whole batch, to learn shapes.
        return super().__call__(split_fields(x)[0], *args, **kwargs)

    def _trial_step(self, batch: Any) -> None:
        """Run a training step that creates all variables that steps need."""
        loop = self._parts_loop()
        if loop is None:
            self._run_train_step(keras.tree.map_structure(keras.ops.convert_to_tensor, batch))
        else:
            loop.trial(batch)

    def _parts_loop(self) -> PartsLoop | None:
        """Return the loop by parts; None if this model is trained as a whole, by one worker."""
        if self._tailfit_parts == 1 and place().world == 1:
            return None
        cls = type(self)
        if cls.train_step is not Model.train_step:
            raise refuse_own_step(cls, f"a fit with {place().world} workers")
        if self._tailfit_loop is None:
            own_metrics = any(
                getattr(cls, name) is not getattr(base, name)
                for name, base in (
                    ("update_metrics", Model),
                    ("compute_metrics", keras.Model),
                    ("compute_loss", keras.Model),
                )
            )
            self._tailfit_loop = PartsLoop(self, self._tailfit_runner, self._tailfit_parts, needs_x=own_metrics)
        return self._tailfit_loop

    def _evaluated_by_parts(self, validation: Any) -> Any:
        """Return validation data that the default test step evaluates; None if a custom one evaluates it as a whole."""
        return validation if type(self).test_step is Model.test_step else None

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the loss and the metrics; `keras.Model.evaluate`, where `x` may be a `tailfit.Batches`.

        Each sample of a `Batches` is read once. A `Batches` that was made with a sampler is read as its epoch 0.
        """
        # `kwargs`: within a fit that has checked its validation data, Keras passes an iterator of its own.
        if isinstance(x, Batches):
            x, sample_weight = x.weighted(sample_weight=sample_weight), None
        feed = as_feed(x, "evaluation")
        what = "labels" if isinstance(feed, Feed) else "y"
        given = None if kwargs else Given(what, feed, y, sample_weight)
        loop = self._tailfit_loop if kwargs else None
        by_parts = nullcontext() if loop is None else loop.validating()
        with reading(feed), labels_checked(self, given, training=False), by_parts, idle_hooks_skipped():
            return super().evaluate(
                feed, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict=return_dict, **kwargs
            )

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return the outputs; `keras.Model.predict`, where `x` may be a `tailfit.Batches`.

        Row i is sample i of the source. For a `Batches` that was made with a sampler, the rows are in the order of its
        epoch 0, `batches.indices(0, step)`.

        Raises:
            ArgumentError: If `drop_remainder` of a `Batches` would leave samples out.
        Warns:
            UserWarning: Once for a `Batches` whose sampler or shard has other rows than the source.
        """
        feed = as_feed(x, "prediction")
        with reading(feed):
            return super().predict(feed, batch_size, verbose, steps, callbacks)


def _functional_twin(cls: type) -> type:
    """Return a subclass of `cls` that is also Keras' functional model.

    Keras itself inserts `Functional` into the bases of `cls`, and of every class between it and `keras.Model`. After
    the first functional model, subclasses of `tailfit.Model` with their own `call` would no longer work.
    """
    twin: type | None = cls.__dict__.get("_tailfit_functional_twin")
    if twin is None:
        twin = type(cls.__name__, (cls, private.Functional), {"__module__": cls.__module__, "__doc__": cls.__doc__})
        twin.__qualname__ = cls.__qualname__
        cls._tailfit_functional_twin = twin  # type: ignore[attr-defined]
    private.saved_under_the_name_of(twin, cls)
    return twin


def _refuse_stateless(step: Any, name: str) -> None:
    required = [
        parameter.name
        for parameter in inspect.signature(step).parameters.values()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(required) != 2:
        raise StepError(
            f"{name}({', '.join(required)})",
            expected=f"{name}(self, data) on every backend",
            fix="drop the state argument and assign to variables; on JAX, too, tailfit carries their values",
        )


_SET_BY_BATCHES = {
    "y": "drop y; the labels come from the source of the Batches",
    "batch_size": "pass batch_size to Batches",
    "validation_split": "split the source with source.split(), and pass validation_data=Batches(...)",
    "steps_per_epoch": "drop it; an epoch has len(batches) steps, which the sampler determines",
}


def _refuse_set_by_batches(call: Logs) -> None:
    for name, fix in _SET_BY_BATCHES.items():
        value = call.get(name)
        if value is not None and not (name == "validation_split" and value == 0):
            raise ArgumentError(f"{name} together with a Batches", expected=f"no {name} in fit(batches)", fix=fix)
