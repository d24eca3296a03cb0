"""The cases of the parity tests: networks, data and options of `compile` that Keras' own `fit` supports.

A case is a function of the class to build with (`keras.Model` or `tailfit.Model`) that returns a compiled model and the
arguments of its `fit`. `case` registers it.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

Made = tuple[keras.Model, dict[str, Any]]
CASES: dict[str, Callable[[type], Made]] = {}

STEPS, BATCH, CLASSES = 30, 8, 4
SAMPLES = STEPS * BATCH - 3  # the last batch is short
LOGITS = {"from_logits": True}


def case(make: Callable[[type], Made]) -> Callable[[type], Made]:
    CASES[make.__name__] = make
    return make


def cross_entropy() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(**LOGITS)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def table(width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    return rng().normal(size=(SAMPLES, width)).astype("float32"), rng().integers(0, CLASSES, SAMPLES)


def records(length: int = 6, channels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return rng().normal(size=(SAMPLES, length, channels)).astype("float32"), rng().integers(0, CLASSES, SAMPLES)


def dense(cls: type, dtype: Any = None) -> keras.Model:
    inputs = keras.Input((6,))
    hidden = layers.Dense(8, activation="relu", dtype=dtype, name="hidden")(inputs)
    return cls(inputs, layers.Dense(CLASSES, dtype=dtype)(hidden))


def arrays(x: Any, y: Any, **more: Any) -> dict[str, Any]:
    return {"x": x, "y": y, "batch_size": BATCH, **more}


# -- layers ----------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("tests")
class Penalty(layers.Layer):
    """A layer that adds a penalty on its inputs, and counts its calls."""

    def build(self, shape: Any) -> None:
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x: Any) -> Any:
        self.add_loss(1e-2 * ops.mean(ops.square(x)))
        self.calls.assign_add(1.0)
        return x


@case
def penalties_normalisation_and_dropout(cls: type) -> Made:
    inputs = keras.Input((6,))
    x = layers.Dense(8, kernel_regularizer="l2", bias_regularizer="l1", activity_regularizer="l1")(inputs)
    x = layers.LayerNormalization()(layers.BatchNormalization()(Penalty()(x)))
    x = layers.GaussianNoise(0.1)(layers.Dropout(0.3)(layers.Activation("relu")(x)))
    model = cls(inputs, layers.Dense(CLASSES, kernel_constraint="max_norm")(x))
    model.compile("adam", cross_entropy(), metrics=["accuracy"])
    return model, arrays(*table())


@case
def masks_and_recurrence(cls: type) -> Made:
    """A loss per time step, in which masked steps do not count."""
    inputs = keras.Input((6, 2))
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True, dropout=0.2))(layers.Masking()(inputs))
    model = cls(inputs, layers.TimeDistributed(layers.Dense(CLASSES))(x))
    model.compile("adam", cross_entropy(), weighted_metrics=[keras.metrics.SparseCategoricalCrossentropy(**LOGITS)])
    x, _ = records()
    for row, length in enumerate(rng().integers(1, 7, SAMPLES)):
        x[row, length:] = 0.0
    return model, arrays(x, rng().integers(0, CLASSES, (SAMPLES, 6)))


@case
def embeddings_and_attention(cls: type) -> Made:
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(20, 8, mask_zero=True)(inputs)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x)])
    model = cls(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x)))
    model.compile("adam", cross_entropy())
    return model, arrays(rng().integers(0, 20, (SAMPLES, 5)), table()[1])


@case
def convolutions(cls: type) -> Made:
    inputs = keras.Input((8, 8, 2))
    x = layers.SpatialDropout2D(0.2)(layers.BatchNormalization()(layers.Conv2D(4, 3, use_bias=False)(inputs)))
    x = layers.MaxPooling2D()(layers.SeparableConv2D(6, 3, activation="relu")(x))
    model = cls(inputs, layers.Dense(CLASSES)(layers.Flatten()(x)))
    model.compile("adam", cross_entropy())
    return model, arrays(rng().normal(size=(SAMPLES, 8, 8, 2)).astype("float32"), table()[1])


@case
def preprocessing_of_images(cls: type) -> Made:
    """Augmentation, which draws for each sample, inside the model."""
    inputs = keras.Input((8, 8, 3))
    x = layers.RandomFlip(seed=1)(layers.Rescaling(1 / 255)(inputs))
    x = layers.RandomTranslation(0.1, 0.1, seed=2)(x)
    x = layers.RandomContrast(0.2, seed=3)(x)
    model = cls(inputs, layers.Dense(CLASSES)(layers.Flatten()(x)))
    model.compile("adam", cross_entropy())
    return model, arrays(rng().uniform(0, 255, (SAMPLES, 8, 8, 3)).astype("float32"), table()[1])


@case
def preprocessing_of_tables(cls: type) -> Made:
    x, y = table()
    normalization = layers.Normalization()
    normalization.adapt(x)
    bins = layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0])
    inputs = keras.Input((6,))
    coded = layers.CategoryEncoding(num_tokens=4, output_mode="multi_hot")(bins(inputs))
    model = cls(inputs, layers.Dense(CLASSES)(layers.Concatenate()([normalization(inputs), coded])))
    model.compile("adam", cross_entropy())
    return model, arrays(x, y)


@case
def shared_and_nested_models(cls: type) -> Made:
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(5, activation="tanh"), layers.BatchNormalization()])
    inputs = keras.Input((6,))
    left, right = inner(inputs[:, :3]), inner(inputs[:, 3:])
    model = cls(inputs, layers.Dense(CLASSES)(layers.Subtract()([left, right])))
    model.compile("adam", cross_entropy())
    return model, arrays(*table())


@case
def frozen_layers(cls: type) -> Made:
    inputs = keras.Input((6,))
    first, normal = layers.Dense(8, activation="relu"), layers.BatchNormalization()
    model = cls(inputs, layers.Dense(CLASSES)(normal(layers.Dense(8)(first(inputs)))))
    first.trainable = normal.trainable = False
    model.compile("adam", cross_entropy())
    return model, arrays(*table())


@case
def a_low_rank_adapter(cls: type) -> Made:
    model = dense(cls)
    model.get_layer("hidden").enable_lora(2)
    model.compile("adam", cross_entropy())
    return model, arrays(*table())


@case
def a_state_kept_between_batches(cls: type) -> Made:
    inputs = keras.Input(batch_shape=(BATCH, 6, 2))
    model = cls(inputs, layers.Dense(CLASSES)(layers.SimpleRNN(4, stateful=True)(inputs)))
    model.compile("sgd", cross_entropy())
    x, y = records()
    whole = SAMPLES // BATCH * BATCH
    return model, arrays(x[:whole], y[:whole])


@case
def a_subclass_that_fit_builds(cls: type) -> Made:
    class Net(cls):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [layers.Dense(8, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.2)]
            self.heads = {"cause": layers.Dense(CLASSES), "size": layers.Dense(1)}

        def call(self, inputs: Any, training: bool | None = None) -> Any:
            x = ops.concatenate([inputs["a"], inputs["b"][0]], axis=1)
            for block in self.blocks:
                x = block(x, training=training) if not isinstance(block, layers.Dense) else block(x)
            return {name: head(x) for name, head in self.heads.items()}

    model = Net()
    model.compile("adam", {"cause": cross_entropy(), "size": "mse"}, loss_weights={"cause": 1.0, "size": 0.3})
    x, y = table()
    given = {"a": x[:, :2], "b": [x[:, 2:]]}
    return model, arrays(given, {"cause": y, "size": x[:, :1]}, validation_split=0.2)


# -- inputs, outputs, losses -----------------------------------------------------------------------------


@case
def nested_inputs_and_outputs(cls: type) -> Made:
    inputs = {"a": keras.Input((2,), name="a"), "more": [keras.Input((4,), name="b")]}
    x = layers.Concatenate()([inputs["a"], *inputs["more"]])
    outputs = [layers.Dense(CLASSES, name="cause")(x), layers.Dense(3, activation="sigmoid", name="tags")(x)]
    model = cls(inputs, outputs)
    model.compile(
        "adam",
        [cross_entropy(), "binary_crossentropy"],
        metrics=[["accuracy"], ["mae"]],
        weighted_metrics=[["accuracy"], []],
    )
    x, y = table()
    tags = rng().integers(0, 2, (SAMPLES, 3)).astype("float32")
    weights = [rng().uniform(0.1, 2, SAMPLES), rng().uniform(0.1, 2, SAMPLES)]
    return model, arrays({"a": x[:, :2], "more": [x[:, 2:]]}, [y, tags], sample_weight=weights)


@keras.saving.register_keras_serializable("tests")
class Rebuilt(layers.Layer):
    """A layer that adds the reconstruction error as loss and metric, from noisy codes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error, self.seed = keras.metrics.Mean(name="error"), keras.random.SeedGenerator(5)

    def call(self, inputs: Any) -> Any:
        original, code = inputs
        error = ops.mean(ops.square(original - code + keras.random.normal(ops.shape(code), seed=self.seed)))
        self.add_loss(error)
        self.error.update_state(error)
        return code


@keras.saving.register_keras_serializable("tests")
def square(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(ops.one_hot(ops.cast(y_true, "int32"), CLASSES) - y_pred), axis=-1)


@case
def losses_that_the_network_adds(cls: type) -> Made:
    """An autoencoder that adds its own loss and metric, compiled without a loss."""
    inputs = keras.Input((6,))
    rebuilt = layers.Dense(6)(layers.Dense(2)(inputs))
    model = cls(inputs, Rebuilt()([inputs, rebuilt]))
    model.compile("adam")
    return model, {"x": table()[0], "batch_size": BATCH}


@case
def a_loss_that_is_a_function(cls: type) -> Made:
    model = dense(cls)
    model.compile("adam", square, metrics=[square])
    return model, arrays(*table())


@case
def weights_of_classes_and_samples(cls: type) -> Made:
    model = dense(cls)
    model.compile("adam", cross_entropy(), metrics=["accuracy"], weighted_metrics=["accuracy"])
    x, y = table()
    return model, arrays(
        x, y, class_weight={0: 1.0, 1: 2.0, 2: 0.5, 3: 0.0}, validation_data=(x, y, np.arange(SAMPLES))
    )


@case
def weights_that_divide(cls: type) -> Made:
    model = dense(cls)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(**LOGITS, reduction="mean_with_sample_weight"))
    return model, arrays(*table(), sample_weight=rng().uniform(0, 3, SAMPLES))


# -- optimizers and arithmetic ---------------------------------------------------------------------------


@case
def float16_with_loss_scaling(cls: type) -> Made:
    model = dense(cls, keras.dtype_policies.DTypePolicy("mixed_float16"))
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2), dynamic_growth_steps=4)
    model.compile(optimizer, cross_entropy(), metrics=["accuracy"])
    x, y = table()
    x[5 * BATCH, 0] = 6e4  # a step whose gradients overflow: skipped, and the scale halved
    return model, arrays(x, y)


@case
def bfloat16(cls: type) -> Made:
    model = dense(cls, keras.dtype_policies.DTypePolicy("mixed_bfloat16"))
    model.compile("adam", cross_entropy())
    return model, arrays(*table())


@case
def float16_accumulated_clipped_and_averaged(cls: type) -> Made:
    model = dense(cls, keras.dtype_policies.DTypePolicy("mixed_float16"))
    inner = keras.optimizers.AdamW(
        1e-2,
        global_clipnorm=0.5,
        use_ema=True,
        ema_momentum=0.9,
        ema_overwrite_frequency=7,
        gradient_accumulation_steps=3,
    )
    model.compile(keras.optimizers.LossScaleOptimizer(inner, initial_scale=1024.0), cross_entropy())
    return model, arrays(*table())


@case
def a_decaying_rate(cls: type) -> Made:
    model = dense(cls)
    rate = keras.optimizers.schedules.CosineDecay(0.1, 20, warmup_target=0.2, warmup_steps=5)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, clipvalue=0.1), cross_entropy())
    return model, arrays(*table())


@case
def rates_that_callbacks_change(cls: type) -> Made:
    model = dense(cls)
    model.compile(keras.optimizers.Adam(1e-2), cross_entropy())
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)
    return model, arrays(*table(), epochs=2, callbacks=[halve])


def _with(optimizer: type) -> Callable[[type], Made]:
    def make(cls: type) -> Made:
        inputs = keras.Input((6,))
        x = layers.Dense(8, activation="relu")(inputs)
        model = cls(inputs, layers.Dense(CLASSES)(layers.Dense(8)(x)))
        model.compile(optimizer(learning_rate=1e-2), cross_entropy())
        return model, arrays(*table())

    return make


# Every optimizer of this Keras version except wrappers; loss scaling has its own cases above.
CASES.update(
    {
        f"optimizer_{name}": _with(made)
        for name, made in sorted(vars(keras.optimizers).items())
        if isinstance(made, type)
        and issubclass(made, keras.optimizers.Optimizer)
        and name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
    }
)
