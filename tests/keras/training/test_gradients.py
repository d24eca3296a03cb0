"""value_and_grad: closed forms, nesting, what it returns and what it refuses."""

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit.errors import StepError


def as_numpy(value):
    return ops.convert_to_numpy(value)


def test_gradients_of_a_closed_form():
    w, b = keras.Variable([[1.0], [2.0]]), keras.Variable([0.5])
    x = np.array([[1.0, 3.0], [2.0, -1.0]], "float32")

    def forward():
        return ops.sum(ops.square(ops.matmul(x, w) + b))

    loss, (dw, db) = tailfit.value_and_grad(forward, [w, b])
    error = x @ np.array([[1.0], [2.0]]) + 0.5
    assert float(loss) == pytest.approx(float((error**2).sum()))
    np.testing.assert_allclose(as_numpy(dw), 2 * x.T @ error)
    np.testing.assert_allclose(as_numpy(db), 2 * error.sum(axis=0))


def test_what_comes_beside_the_loss_keeps_its_structure():
    w = keras.Variable(3.0)
    (loss, aux), gradients = tailfit.value_and_grad(lambda: (w * w, {"w": w.value, "pair": (w + 1, None)}), [w])
    assert (float(loss), float(gradients[0])) == (9.0, 6.0)
    assert float(aux["w"]) == 3.0
    assert float(aux["pair"][0]) == 4.0
    assert aux["pair"][1] is None


def test_a_loss_with_none_beside_it_stays_a_pair():
    w = keras.Variable(3.0)
    (loss, aux), _ = tailfit.value_and_grad(lambda: (w * w, None), [w])
    assert float(loss) == 9.0
    assert aux is None


def test_variables_assigned_inside_keep_their_values():
    w, count, seed = keras.Variable(2.0), keras.Variable(0.0, trainable=False), keras.random.SeedGenerator(7)
    draws = []
    for _ in range(2):

        def forward():
            count.assign_add(1.0)
            return w * count, keras.random.uniform((), seed=seed)

        (_, draw), (gradient,) = tailfit.value_and_grad(forward, [w])
        draws.append(float(draw))
    assert float(as_numpy(count)) == 2.0
    assert float(gradient) == 2.0  # the count as assigned inside
    assert draws[0] != draws[1]


def test_a_gradient_penalty_by_nesting():
    # d/dw (w^3)^2-style: f = w^3, f' = 3w^2, penalty = f'^2 = 9w^4, its gradient 36w^3
    w = keras.Variable(2.0)

    def penalty():
        _, (inner,) = tailfit.value_and_grad(lambda: w * w * w, [w])
        return ops.square(inner)

    loss, (gradient,) = tailfit.value_and_grad(penalty, [w])
    assert float(loss) == pytest.approx(144.0)
    assert float(gradient) == pytest.approx(288.0)


def test_gradients_by_inputs():
    w = keras.Variable([2.0, 3.0])
    x, y = ops.convert_to_tensor([1.0, 4.0]), np.float32(5.0)
    (loss, aux), (by_w, by_x, by_y) = tailfit.value_and_grad(
        lambda x, y: (ops.sum(w * x * x) * y, x + 1), [w], inputs=[x, y]
    )
    assert float(loss) == 250.0
    assert as_numpy(aux).tolist() == [2.0, 5.0]
    assert as_numpy(by_w).tolist() == [5.0, 80.0]
    assert as_numpy(by_x).tolist() == [20.0, 120.0]
    assert float(by_y) == 50.0
    assert as_numpy(x).tolist() == [1.0, 4.0]


def test_gradients_by_an_input_are_differentiated_again():
    # f(x) = w x^3 at x = w^2: f' = 3 w x^2; d/dw of f' along x as well: 3 x^2 + 6 w x * 2 w = 3 w^4 + 12 w^4
    w = keras.Variable(2.0)

    @tailfit.function
    def slope_of_slope():
        def slope():
            _, (inner,) = tailfit.value_and_grad(lambda x: w * x * x * x, inputs=[w * w])
            return inner

        return tailfit.value_and_grad(slope, [w])

    loss, (gradient,) = slope_of_slope()
    assert float(loss) == pytest.approx(96.0)
    assert float(gradient) == pytest.approx(240.0)


@pytest.mark.parametrize("bad", [[np.arange(3)], np.ones(3, "float32"), "x", [np.ones(2, bool)]], ids=str)
def test_inputs_without_gradients_are_refused(bad):
    with pytest.raises(StepError, match="inputs"):
        tailfit.value_and_grad(lambda x: ops.sum(x), inputs=bad)


def test_gradients_by_variables_that_are_not_trainable():
    frozen = keras.Variable(3.0, trainable=False)
    _, (gradient,) = tailfit.value_and_grad(lambda: frozen * frozen, [frozen])
    assert float(gradient) == 6.0


def test_a_variable_that_is_not_used_has_no_gradient_or_zeros():
    used, unused = keras.Variable(3.0), keras.Variable([1.0, 2.0])
    _, (_, gradient) = tailfit.value_and_grad(lambda: used * used, [used, unused])
    assert gradient is None or as_numpy(gradient).tolist() == [0.0, 0.0]


@pytest.mark.only_on("torch")  # only torch tensors carry a graph
def test_results_do_not_hold_on_to_the_graph():
    w = keras.Variable(2.0)
    (loss, aux), _ = tailfit.value_and_grad(lambda: (w * w, w * 3), [w])
    assert not loss.requires_grad
    assert not aux.requires_grad


@pytest.mark.parametrize("bad", [lambda: None, lambda: ops.ones((2,)), lambda: (ops.ones((2,)), 1), lambda: "loss"])
def test_a_loss_that_is_no_scalar_is_refused(bad):
    with pytest.raises(StepError, match="scalar loss"):
        tailfit.value_and_grad(bad, [keras.Variable(1.0)])


def test_values_in_place_of_variables_are_refused():
    w = keras.Variable(1.0)
    with pytest.raises(StepError, match=r"variables\[0\].*model.trainable_variables"):
        tailfit.value_and_grad(lambda: w * w, [w.value])


def test_no_variables_are_refused():
    with pytest.raises(StepError, match="build the model"):
        tailfit.value_and_grad(lambda: ops.ones(()), [])


def test_the_mask_of_a_prediction_is_kept():
    """Keras' own JAX step loses it, and its metrics then count what was masked out."""
    inputs = keras.Input((3, 1))
    masked = keras.layers.Masking(mask_value=0.0)(inputs)
    model = tailfit.Model(inputs, keras.layers.Dense(2, kernel_initializer="ones")(masked))
    model.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True), metrics=[tailfit.metrics.BalancedAccuracy()])
    x = np.array([[[1.0], [2.0], [0.0]]], "float32")
    y = np.array([[0, 0, 1]])  # wrong where it is masked out, right elsewhere (both logits equal: class 0)
    assert model.fit(x, y, verbose=0).history["balanced_accuracy"] == [1.0]
    assert model.evaluate(x, y, verbose=0, return_dict=True)["balanced_accuracy"] == 1.0


def test_a_layer_built_inside_has_the_weights_that_it_was_used_with():
    """Not compiled: on JAX the layer is made in a trace, where its weights are mere placeholders at first."""
    w, layer = keras.Variable(1.0), keras.layers.Dense(1, use_bias=False)
    x = np.ones((1, 3), "float32")
    (_, out), (gradient,) = tailfit.value_and_grad(lambda: _scaled(w, layer(x)), [w])
    np.testing.assert_allclose(as_numpy(out), as_numpy(layer(x)), rtol=1e-6)
    np.testing.assert_allclose(float(gradient), as_numpy(layer.kernel.value).sum(), rtol=1e-5)


def _scaled(w, y):
    return ops.sum(y) * w, y
