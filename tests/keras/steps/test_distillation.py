"""DiVE against its formula in NumPy."""

from typing import Any

import keras
import numpy as np
import pytest

import tailfit
from tailfit import steps
from tailfit.errors import ArgumentError, StepError

C = 3
RNG = np.random.default_rng(8)
X = RNG.normal(size=(8, 4)).astype("float32")
Y = np.array([0, 0, 1, 2, 0, 1, 0, 2])
COUNTS = [100, 20, 4]


def network(seed: int, classes: int = C) -> Any:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    x = keras.layers.Dropout(0.5, seed=seed)(inputs) if seed == 9 else inputs
    return tailfit.Model(inputs, keras.layers.Dense(classes)(x))


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def step_in_numpy(student: Any, teacher: Any, weights: Any, alpha: float, t: float, power: float) -> tuple[Any, Any]:
    """The loss of He et al. 2021 with balanced softmax, and the kernel after a step of SGD(0.5), by hand."""
    kernel, bias = student.get_weights()
    z = X @ kernel + bias
    virtual = softmax((X @ teacher.get_weights()[0] + teacher.get_weights()[1]) / t) ** power
    virtual /= virtual.sum(axis=1, keepdims=True)
    balanced, own, hot = softmax(z + np.log(COUNTS)), softmax(z / t), np.eye(C)[Y]
    divergence = (virtual * np.log(virtual / own)).sum(axis=1)
    losses = (1 - alpha) * -np.log(balanced[np.arange(8), Y]) + alpha * t**2 * divergence
    slopes = (1 - alpha) * (balanced - hot) + alpha * t * (own - virtual)
    return (weights * losses).mean(), kernel - 0.5 * X.T @ (weights[:, None] * slopes) / 8


@pytest.mark.parametrize(("alpha", "temperature", "power"), [(0.5, 3.0, 0.5), (0.9, 1.0, 1.0), (0.0, 2.0, 1.0)])
def test_it_is_the_loss_of_the_paper(alpha, temperature, power):
    teacher, student = network(9), network(2)  # the dropout of the teacher is off
    weights = RNG.uniform(0.5, 2, 8).astype("float32")
    step = steps.DiVE(teacher=teacher, alpha=alpha, temperature=temperature, power=power)
    loss = tailfit.losses.BalancedSoftmax(COUNTS, from_logits=True)
    student.compile(keras.optimizers.SGD(0.5), loss, steps=[step])
    before = [each.copy() for each in teacher.get_weights()]
    value, kernel = step_in_numpy(student, teacher, weights, alpha, temperature, power)
    history = student.fit(X, Y, sample_weight=weights, batch_size=8, verbose=0).history
    assert history["loss"][0] == pytest.approx(float(value), rel=1e-4)
    np.testing.assert_allclose(student.get_weights()[0], kernel, rtol=1e-4, atol=1e-5)
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_student_is_saved_without_its_teacher_and_asks_for_it(tmp_path):
    student = network(2)
    loss = tailfit.losses.BalancedSoftmax(COUNTS, from_logits=True)
    student.compile("sgd", loss, steps=[steps.DiVE(teacher=network(3))])
    student.fit(X, Y, verbose=0)
    student.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), student.predict(X, verbose=0), rtol=1e-6)
    with pytest.raises(StepError, match=r"the step DiVE without a teacher.*compile the student again"):
        loaded.fit(X, Y, verbose=0)


def test_other_teachers_are_refused():
    with pytest.raises(ArgumentError, match="teacher of type str"):
        steps.DiVE(teacher="runs/1")
    student = network(2)
    student.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True), steps=[steps.DiVE(teacher=network(3, 5))])
    with pytest.raises(StepError, match="of teacher and student"):
        student.fit(X, Y, verbose=0)
