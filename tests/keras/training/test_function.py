"""tailfit.function: state is found by itself, never stale, and lives on after the call."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit.errors import ArgumentError, StepError


def as_numpy(value):
    return ops.convert_to_numpy(value)


def test_a_training_loop_learns_and_equals_the_eager_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 5)).astype("float32")
    x, y = (ops.convert_to_tensor(part) for part in (x, (x @ rng.normal(size=(5, 1))).astype("float32")))

    def run(wrap):
        keras.utils.set_random_seed(2)
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1), keras.layers.Dropout(0.1)])
        optimizer = keras.optimizers.Adam(0.05)
        metric = keras.metrics.MeanSquaredError()

        def step(x, y):
            def forward():
                y_pred = model(x, training=True)
                return ops.mean(ops.square(y - y_pred)), y_pred

            (loss, y_pred), gradients = tailfit.value_and_grad(forward, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            metric.update_state(y, y_pred)
            return loss

        step = wrap(step)
        losses = [float(step(x[i : i + 16], y[i : i + 16])) for _ in range(10) for i in range(0, 64, 16)]
        return losses, [as_numpy(w) for w in model.get_weights()], float(metric.result()), optimizer

    losses, weights, metric, optimizer = run(tailfit.function)
    assert losses[-1] < 0.7 * losses[0]
    assert int(as_numpy(optimizer.iterations)) == 40
    eager = run(lambda step: step)
    np.testing.assert_allclose(losses, eager[0], rtol=1e-4)
    for ours, theirs in zip(weights, eager[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert metric == pytest.approx(eager[2], rel=1e-4)


def test_variables_made_at_the_first_call():
    """The optimizer and the metric are built, and a layer, inside the compiled function."""
    model, late = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]), keras.layers.Dense(1)
    optimizer, metric = keras.optimizers.Adam(0.01), keras.metrics.MeanSquaredError()

    @tailfit.function
    def step(x):
        def forward():
            y_pred = late(model(x))
            return ops.mean(ops.square(y_pred - 1.0)), y_pred

        (loss, y_pred), gradients = tailfit.value_and_grad(forward, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        metric.update_state(ops.ones_like(y_pred), y_pred)
        return loss

    x = np.ones((4, 2), "float32")
    losses = [float(step(x)) for _ in range(30)]
    assert losses[-1] < losses[0]
    assert float(metric.result()) == pytest.approx(np.mean(losses), rel=1e-5)
    assert int(as_numpy(optimizer.iterations)) == 30
    assert all(np.isfinite(as_numpy(v)).all() for v in [*late.variables, *optimizer.variables])


def test_a_model_that_is_not_built_is_refused():
    model = keras.Sequential([keras.layers.Dense(1)])

    @tailfit.function
    def step(x):
        return tailfit.value_and_grad(lambda: ops.mean(model(x)), model.trainable_variables)[0]

    with pytest.raises(StepError, match="build the model"):
        step(np.ones((4, 2), "float32"))


def test_state_changed_between_calls_is_seen():
    w = keras.Variable(1.0)

    @tailfit.function
    def read():
        return w * 2.0

    assert float(read()) == 2.0
    w.assign(5.0)
    assert float(read()) == 10.0


def test_a_new_shape_may_touch_new_variables():
    a, b = keras.Variable(1.0), keras.Variable(10.0)

    @tailfit.function
    def step(x):
        if len(x.shape) == 1:
            a.assign_add(1.0)
            return a + ops.sum(x)
        b.assign_add(a)
        return b + ops.sum(x)

    assert float(step(np.zeros(2, "float32"))) == 2.0
    assert float(step(np.zeros((2, 2), "float32"))) == 12.0
    a.assign(0.0)
    b.assign(0.0)
    assert float(step(np.zeros(2, "float32"))) == 1.0
    assert float(step(np.zeros((2, 2), "float32"))) == 1.0
    assert (float(as_numpy(a)), float(as_numpy(b))) == (1.0, 1.0)


def test_variables_that_share_an_array():
    a, b = keras.Variable([1.0, 2.0]), keras.Variable([0.0, 0.0])
    b.assign(a.value)

    @tailfit.function
    def step():
        a.assign(a * 2.0)
        b.assign(b + 1.0)
        return ops.sum(a) + ops.sum(b)

    assert float(step()) == 11.0
    assert float(step()) == 19.0


def test_a_target_that_shares_the_array_of_its_source():
    """`target.assign(source)`, as in target networks: the step writes one and only reads the other."""
    source, target = keras.Variable([1.0, 2.0]), keras.Variable([0.0, 0.0])

    @tailfit.function
    def step():
        source.assign(source + target)
        return ops.sum(source)

    step()
    target.assign(source)
    assert float(step()) == 6.0
    assert as_numpy(target.value).tolist() == [1.0, 2.0]
    assert float(step()) == 9.0


def test_a_result_survives_the_next_call():
    w = keras.Variable([1.0, 2.0])

    @tailfit.function
    def step():
        w.assign(w + 1.0)
        return w.value

    first = step()
    step()
    assert as_numpy(first).tolist() == [2.0, 3.0]
    assert as_numpy(w).tolist() == [3.0, 4.0]


def test_nested_functions_and_pytrees():
    total = keras.Variable(0.0)

    @tailfit.function
    def inner(pair):
        total.assign_add(pair["a"])
        return {"sum": pair["a"] + pair["b"][0], "none": None}

    @tailfit.function
    def outer(x, *, scale):
        out = inner({"a": x, "b": (x * 2,)})
        return out["sum"] * scale, total.value

    value, now = outer(2.0, scale=10.0)
    assert (float(value), float(now)) == (60.0, 2.0)
    assert inner({"a": 1.0, "b": (1.0,)})["none"] is None
    assert float(as_numpy(total)) == 3.0


def test_numbers_do_not_compile_anew():
    traced = []

    @tailfit.function
    def double(x):
        traced.append(x)
        return x * 2

    results = [float(double(float(i))) for i in range(5)]
    assert results == [0.0, 2.0, 4.0, 6.0, 8.0]
    if keras.backend.backend() != "torch":
        assert len(traced) <= 2


def test_a_gradient_through_a_compiled_function():
    w = keras.Variable(3.0)

    @tailfit.function
    def cube():
        return w * w * w

    _, (gradient,) = tailfit.value_and_grad(lambda: cube() * 2.0, [w])
    assert float(gradient) == pytest.approx(54.0)


def test_an_error_inside_leaves_the_state_as_it_was():
    w = keras.Variable(1.0)

    @tailfit.function
    def step(x):
        w.assign(w + 1.0)
        if x.shape[0] == 3:
            raise RuntimeError("three")
        return w.value

    assert float(step(np.zeros(2, "float32"))) == 2.0
    if keras.backend.backend() != "torch":  # torch runs line by line, as Python does
        with pytest.raises(RuntimeError, match="three"):
            step(np.zeros(3, "float32"))
        assert float(as_numpy(w)) == 2.0
        assert float(step(np.zeros(2, "float32"))) == 3.0


@pytest.mark.parametrize("argument", ["train", object(), np.array(["a"])], ids=["text", "object", "strings"])
def test_arguments_that_are_no_arrays_are_refused(argument):
    @tailfit.function
    def identity(x):
        return x

    with pytest.raises(StepError, match="capture the value"):
        identity(argument)


def test_a_function_that_makes_variables_at_every_call_is_refused(backend):
    @tailfit.function
    def step(x):
        return keras.layers.Dense(1)(x)

    if backend == "torch":  # runs line by line: each call has a new layer, as it says
        assert step(np.ones((2, 3), "float32")).shape == (2, 1)
        return
    with pytest.raises(StepError if backend == "jax" else ValueError, match="variables"):
        step(np.ones((2, 3), "float32"))


def test_static_arguments_reach_the_function_as_they_are():
    seen = []

    @tailfit.function(static_argnames=("training", "layers"))
    def apply(x, training=False, *, layers=()):
        seen.append((training, layers))
        return x * 2 if training else x + len(layers)

    assert float(apply(3.0)) == 3.0
    assert float(apply(3.0, training=True)) == 6.0
    assert float(apply(3.0, True)) == 6.0
    assert float(apply(3.0, layers=("a", "b"))) == 5.0
    assert float(apply(x=4.0, training=False)) == 4.0
    assert set(seen) == {(False, ()), (True, ()), (False, ("a", "b"))}
    if keras.backend.backend() != "torch":
        assert len(seen) == 3  # once each


def test_a_static_argument_of_another_type_is_another():
    @tailfit.function(static_argnames="n")
    def kind(x, n):
        return x + (10 if isinstance(n, bool) else 20)

    assert float(kind(0.0, 1)) == 20.0
    assert float(kind(0.0, True)) == 10.0


def test_state_is_shared_between_static_variants():
    total = keras.Variable(0.0)

    @tailfit.function(static_argnames="sign")
    def add(x, sign):
        total.assign_add(x if sign == "+" else -x)

    add(5.0, sign="+")
    add(2.0, sign="-")
    add(1.0, sign="+")
    assert float(as_numpy(total)) == 4.0


def test_bad_static_arguments_are_refused():
    with pytest.raises(ArgumentError, match="'mode'"):
        tailfit.function(lambda x: x, static_argnames="mode")

    @tailfit.function(static_argnames="sizes")
    def of(x, sizes):
        return x

    with pytest.raises(StepError, match="sizes of type list"):
        of(1.0, sizes=[1, 2])


def test_frequent_retracing_is_said_once(backend):
    @tailfit.function
    def total(x):
        return keras.ops.sum(x)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1, 9):
            total(np.ones(n, "float32"))
            total(np.ones(n, "float32"))
        assert not [w for w in caught if w.category is tailfit.RetraceWarning]
        for n in range(9, 15):
            total(np.ones(n, "float32"))
    said = [w for w in caught if w.category is tailfit.RetraceWarning]
    assert len(said) == (0 if backend == "torch" else 1)
    if said:
        assert "total" in str(said[0].message)
        assert said[0].filename == __file__
