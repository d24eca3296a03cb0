"""Steps of compile(steps=[...]): identities first, hand-written NumPy second; what all share: test_battery.py."""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit import steps
from tailfit.errors import ArgumentError, StepError
from tailfit.schedules import Linear
from tailfit.steps.draws import beta, order_of
from tailfit.steps.sharpness import _moved

CLASSES = 3


def as_numpy(value: Any) -> Any:
    return ops.convert_to_numpy(value)


def problem(n: int = 24, features: int = 5) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(n, features)).astype("float32"), rng.integers(0, CLASSES, n).astype("int32")
    return x, y, rng.uniform(0.1, 3.0, n).astype("float32")


def network(*, noisy: bool = False, linear: bool = False, penalties: bool = True) -> Any:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(11)
    inputs = x = keras.Input((5,))
    if not linear:
        regularizer = keras.regularizers.L2(1e-2) if penalties else None
        activity = keras.regularizers.L2(1e-2) if penalties else None
        x = keras.layers.Dense(8, kernel_regularizer=regularizer, activity_regularizer=activity)(x)
        if noisy:
            x = keras.layers.BatchNormalization()(x)
            x = keras.layers.Dropout(0.4, seed=2)(x)
        x = keras.layers.Activation("tanh")(x)
    return tailfit.Model(inputs, keras.layers.Dense(CLASSES)(x))


def entropy(reduction: str = "sum_over_batch_size") -> Any:
    return tailfit.losses.CrossEntropy(from_logits=True, reduction=reduction)


def train(given: Any, *, reduction: str = "sum_over_batch_size", weighted: bool = False, **options: Any) -> Any:
    """A trained model and what it reported: two epochs of three batches, the last one short."""
    model = network(**options)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), entropy(reduction), metrics=["accuracy"], steps=given)
    x, y, weights = problem(22)
    history = model.fit(
        x, y, sample_weight=weights if weighted else None, batch_size=8, epochs=2, shuffle=False, verbose=0
    )
    return model, history.history


def assert_same(ours: Any, theirs: Any, tolerance: float = 2e-6) -> None:
    for a, b in zip(ours[0].weights, theirs[0].weights, strict=True):
        np.testing.assert_allclose(as_numpy(a), as_numpy(b), rtol=tolerance, atol=tolerance, err_msg=a.path)
    assert ours[1].keys() == theirs[1].keys()
    for name in ours[1]:
        np.testing.assert_allclose(ours[1][name], theirs[1][name], rtol=1e-5, atol=1e-5, err_msg=name)


# -- identities ------------------------------------------------------------------------------------------


NOTHING = {
    "no change": (lambda: [steps.Step()], {"noisy": True}),
    "Mixup of share 1": (lambda: [steps.Mixup(alpha=0.0)], {"noisy": True}),
    "Remix of share 1": (lambda: [steps.Remix(alpha=0.0, class_counts=[9, 9, 9])], {"noisy": True}),
    "SAM at distance 0": (lambda: [steps.SAM(rho=0.0)], {"noisy": True}),
    "ImbSAM at distance 0": (lambda: [steps.ImbSAM(class_counts=[9, 3, 1], threshold=3, rho=0.0)], {"noisy": True}),
    "RDrop without noise": (lambda: [steps.RDrop(alpha=0.0, from_logits=True)], {}),
    "RDrop of equal passes": (lambda: [steps.RDrop(alpha=5.0, from_logits=True)], {}),
    "SmallLoss that keeps all": (lambda: [steps.SmallLoss(forget_rate=0.0)], {"noisy": True}),
    "one part": (lambda: [steps.Accumulate(parts=1)], {"noisy": True}),
    "all of them": (
        lambda: [
            steps.SAM(rho=0.0),
            steps.Accumulate(parts=2),
            steps.Mixup(alpha=0.0),
            steps.RDrop(alpha=1.0, from_logits=True),
            steps.SmallLoss(forget_rate=0.0),
        ],
        {},
    ),
}
REDUCTIONS = ["sum_over_batch_size", "mean_with_sample_weight", "sum"]


@functools.cache
def plain(**arguments):
    return train(None, **arguments)


def all_reductions(names, of):
    """Every reduction for some, the one that divides by weights for all."""
    return [(name, reduction) for name in names for reduction in (REDUCTIONS if name in of else REDUCTIONS[1:2])]


@pytest.mark.parametrize(("name", "reduction"), all_reductions(NOTHING, ["all of them"]))
def test_steps_that_change_nothing_train_as_without(name, reduction):
    make, options = NOTHING[name]
    arguments = {"reduction": reduction, "weighted": True, **options}
    assert_same(train(make(), **arguments), plain(**arguments), 1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_trap_29_parts_add_up_to_the_whole_batch(reduction, weighted):
    arguments = {"reduction": reduction, "weighted": weighted}
    assert_same(train([steps.Accumulate(parts=3)], **arguments), plain(**arguments), 1e-5)


MIXES = {
    "Mixup": lambda: steps.Mixup(alpha=1.0, seed=4),
    "Remix": lambda: steps.Remix(alpha=1.0, class_counts=[90, 10, 1], seed=4),
    "SAM": lambda: steps.SAM(rho=0.1),
    "ImbSAM": lambda: steps.ImbSAM(class_counts=[90, 10, 1], threshold=10, rho=0.1),
    "RDrop": lambda: steps.RDrop(from_logits=True),
}


@pytest.mark.parametrize(("name", "reduction"), all_reductions(MIXES, ["Mixup", "RDrop"]))
def test_parts_add_up_under_other_steps(name, reduction):
    arguments = {"reduction": reduction, "weighted": True}
    assert_same(
        train([MIXES[name](), steps.Accumulate(parts=3)], **arguments), train([MIXES[name]()], **arguments), 1e-5
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_parts_add_up_under_a_mask(reduction):
    def run(given):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(1)
        inputs = keras.Input((6, 2))
        x = keras.layers.Masking()(inputs)
        model = tailfit.Model(inputs, keras.layers.Dense(CLASSES)(keras.layers.LSTM(4, return_sequences=True)(x)))
        model.compile(keras.optimizers.SGD(0.1), entropy(reduction), steps=given)
        rng = np.random.default_rng(2)
        x, y = rng.normal(size=(8, 6, 2)).astype("float32"), rng.integers(0, CLASSES, (8, 6))
        x[np.arange(6) >= rng.integers(1, 7, (8, 1))] = 0.0
        history = model.fit(x, y, batch_size=8, epochs=2, verbose=0, shuffle=False)
        return model, history.history

    assert_same(run([steps.Accumulate(parts=3)]), run(None), 1e-5)


def test_imbalanced_sam_of_only_tail_classes_is_sam():
    every = steps.ImbSAM(class_counts=[9, 9, 9], threshold=9, rho=0.2)
    arguments = {"penalties": False, "weighted": True, "noisy": True}
    assert_same(train([every], **arguments), train([steps.SAM(rho=0.2)], **arguments), 1e-5)


def test_sam_and_its_second_pass_see_the_same_dropout_and_count_once():
    sam, without = train([steps.SAM(rho=0.3)], noisy=True), train(None, noisy=True)
    differ = [np.abs(as_numpy(a) - as_numpy(b)).max() for a, b in zip(sam[0].weights, without[0].weights, strict=True)]
    assert max(differ) > 1e-3
    seeds = [[as_numpy(v) for v in m.non_trainable_variables if "seed" in v.path] for m in (sam[0], without[0])]
    assert seeds[0]
    np.testing.assert_array_equal(*seeds)


def test_weights_come_back_to_the_bit():
    model = network()
    before = [as_numpy(v).copy() for v in model.trainable_variables]
    gradients = [ops.convert_to_tensor(1e3 * np.ones(v.shape, "float32")) for v in model.trainable_variables]
    with _moved(model, gradients, 0.1):
        away = np.sqrt(
            sum(((as_numpy(v) - b) ** 2).sum() for v, b in zip(model.trainable_variables, before, strict=True))
        )
    assert away == pytest.approx(0.1, rel=1e-4)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(as_numpy(variable), value)


def test_an_embedding_moves_as_far_as_any_kernel():
    """TensorFlow gives its gradient by rows, repeated ones apart."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((4,), dtype="int32")
    x = keras.layers.Flatten()(keras.layers.Embedding(3, 2)(inputs))
    model = tailfit.Model(inputs, keras.layers.Dense(CLASSES)(x))
    model.compile("sgd", entropy())
    tokens, y = np.array([[0, 0, 0, 1], [1, 0, 0, 0]]), np.array([0, 1])

    @tailfit.function
    def distance():
        before = [ops.copy(v.value) for v in model.trainable_variables]
        _, gradients = tailfit.value_and_grad(lambda: model.loss(y, model(tokens)), model.trainable_variables)
        with _moved(model, gradients, 0.3):
            moved = [v - old for v, old in zip(model.trainable_variables, before, strict=True)]
        return ops.sqrt(sum(ops.sum(ops.square(part)) for part in moved))

    assert float(distance()) == pytest.approx(0.3, rel=1e-3)


def test_centralised_gradients_have_mean_zero():
    model = network()
    model.compile(keras.optimizers.SGD(1.0), entropy(), steps=[steps.GradientCentralization()])
    before = [w.copy() for w in model.get_weights()]
    x, y, _ = problem()
    model.fit(x, y, batch_size=24, verbose=0)
    moves = [a - b for a, b in zip(model.get_weights(), before, strict=True)]
    assert [np.abs(move).max() > 1e-3 for move in moves] == [True] * 4
    for move in moves:
        if move.ndim > 1:
            np.testing.assert_allclose(move.mean(axis=tuple(range(move.ndim - 1))), 0.0, atol=1e-6)


# -- oracles -----------------------------------------------------------------------------------------------


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def linear_gradient(kernel, bias, x, y, w):
    """Of sum(w * cross-entropy) / n, by hand."""
    error = (softmax(x @ kernel + bias) - np.eye(CLASSES)[y]) * w[:, None] / len(y)
    return x.T @ error, error.sum(axis=0)


def one_step(given, w):
    model = network(linear=True)
    kernel, bias = (v.astype("float64") for v in model.get_weights())
    model.compile(keras.optimizers.SGD(1.0), entropy(), steps=given)
    x, y, _ = problem()
    model.fit(x, y, sample_weight=w, batch_size=24, verbose=0, shuffle=False)
    return (kernel, bias), model.get_weights(), x.astype("float64"), y


def away(weights, gradients, rho):
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    return [v + rho * g / norm for v, g in zip(weights, gradients, strict=True)]


def test_one_step_of_sam_by_hand():
    w = problem()[2]
    before, after, x, y = one_step([steps.SAM(rho=0.5)], w)
    there = away(before, linear_gradient(*before, x, y, w), 0.5)
    for value, old, gradient in zip(after, before, linear_gradient(*there, x, y, w), strict=True):
        np.testing.assert_allclose(value, old - gradient, rtol=2e-5, atol=2e-6)


def test_one_step_of_imbalanced_sam_by_hand():
    w = problem()[2]
    before, after, x, y = one_step([steps.ImbSAM(class_counts=[90, 10, 1], threshold=10, rho=0.5)], w)
    head, tail = w * (y == 0), w * (y != 0)
    there = away(before, linear_gradient(*before, x, y, tail), 0.5)
    parts = zip(linear_gradient(*before, x, y, head), linear_gradient(*there, x, y, tail), strict=True)
    for value, old, (at_w, at_there) in zip(after, before, parts, strict=True):
        np.testing.assert_allclose(value, old - at_w - at_there, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("one_hot", [False, True])
def test_the_loss_of_mixed_samples_by_hand(reduction, one_hot):
    """Each of the two labels keeps its own weight, which the class of a mixed label could not tell."""
    x, y, w = problem()
    model = network(linear=True)
    kernel, bias = model.get_weights()
    labels = np.eye(CLASSES, dtype="float32")[y] if one_hot else y
    model.compile(keras.optimizers.SGD(0.0), entropy(reduction), steps=[steps.Mixup(alpha=1.0, seed=9)])
    history = model.fit(x, labels, sample_weight=w, batch_size=24, verbose=0, shuffle=False)
    again = steps.Mixup(alpha=1.0, seed=9).batch(model, steps.Batch(x, (steps.Target(y, w),)))
    own, other = again.targets
    share, partner = float(own.share), as_numpy(other.y)
    assert 0.5 <= share <= 1.0
    assert sorted(partner) == sorted(y)
    assert (partner != y).any()
    np.testing.assert_allclose(own.share + other.share, 1.0, rtol=1e-6)
    log_p = np.log(softmax(as_numpy(again.x) @ kernel + bias))
    rows = np.arange(len(y))
    values = -share * w * log_p[rows, y] - (1 - share) * as_numpy(other.sample_weight) * log_p[rows, partner]
    divisor = {"sum_over_batch_size": len(y), "mean_with_sample_weight": w.sum(), "sum": 1.0}[reduction]
    assert history.history["loss"] == pytest.approx([values.sum() / divisor], rel=1e-5)


def test_mixed_inputs_are_the_weighted_mean_of_two():
    x, y, _ = problem()
    batch = steps.Batch({"a": x, "b": x[:, :1]}, (steps.Target(np.arange(len(y))),))
    mixed = steps.Mixup(alpha=2.0, seed=1).batch(None, batch)
    share, partner = float(mixed.targets[0].share), as_numpy(mixed.targets[1].y)
    assert 0.5 < share < 1.0
    np.testing.assert_allclose(as_numpy(mixed.x["a"]), share * x + (1 - share) * x[partner], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(as_numpy(mixed.x["b"]), as_numpy(mixed.x["a"])[:, :1])


@pytest.mark.parametrize("alpha", [0.05, 0.5, 8.0])
def test_shares_follow_the_beta_distribution(alpha):
    from scipy import stats

    seed = keras.random.SeedGenerator(3)
    draw = tailfit.function(lambda: beta(alpha, seed=seed))
    shares = np.array([as_numpy(draw()) for _ in range(800)])

    def folded(value):
        return stats.beta.cdf(value, alpha, alpha) - stats.beta.cdf(1 - value, alpha, alpha)

    # In float32 shares just below 1 are 1: compared where they are apart.
    for level in (0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 0.999):
        assert np.mean(shares <= level) == pytest.approx(folded(level), abs=0.06), level
    assert ((shares >= 0.5) & (shares <= 1.0)).all()


def test_an_order_is_one_and_random():
    seed = keras.random.SeedGenerator(3)
    orders = np.stack([as_numpy(order_of(6, seed=seed)) for _ in range(300)])
    assert (np.sort(orders, axis=1) == np.arange(6)).all()
    np.testing.assert_allclose(orders.mean(axis=0), 2.5, atol=0.5)


@pytest.mark.parametrize("shape", [(40, 2), (12, 17, 3), (4, 5, 6, 2)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_cutmix_shares_are_the_areas(shape, data_format):
    """Each sample is one constant, so the pasted positions can be counted."""
    n, sizes = 5, set()
    shape = shape if data_format == "channels_last" else (shape[-1], *shape[:-1])
    x = np.broadcast_to(np.arange(n, dtype="float32").reshape(n, *[1] * len(shape)), (n, *shape)).copy()
    step = steps.CutMix(alpha=1.0, seed=6, data_format=data_format)
    for _ in range(20):
        mixed = step.batch(None, steps.Batch(x, (steps.Target(np.arange(n), np.arange(n) / 10.0),)))
        first, second = mixed.targets
        assert 0.5 <= float(first.share) <= 1.0
        pixels = as_numpy(mixed.x)
        for row in range(n):
            for target in (first, second):
                label = as_numpy(target.y)[row]
                assert as_numpy(target.sample_weight)[row] == pytest.approx(label / 10)
                if as_numpy(first.y)[row] != as_numpy(second.y)[row]:
                    assert np.mean(pixels[row] == label) == pytest.approx(float(target.share), abs=1e-6)
        sizes.add(round(float(first.share), 4))
        axis = -1 if data_format == "channels_last" else 1
        channels = np.moveaxis(pixels, axis, 0)
        assert (channels == channels[:1]).all(), "all channels are cut alike"
    assert len(sizes) > 5


def test_remix_gives_the_label_to_the_rarer_class():
    counts, x = [1000, 100, 90], np.eye(6, 4, dtype="float32")
    y = np.array([0, 1, 2, 0, 1, 2])
    seen = set()
    for tau in (0.5, 0.9):
        step = steps.Remix(class_counts=counts, alpha=1.0, tau=tau, seed=2)
        for _ in range(12):
            mixed = step.batch(None, steps.Batch(x, (steps.Target(y),)))
            own, other = mixed.targets
            partner, shares = as_numpy(other.y), as_numpy(own.share)
            np.testing.assert_allclose(shares + as_numpy(other.share), 1.0, rtol=1e-6)
            pairs = list(zip(y, partner, shares, strict=True))
            # Between classes of about the same size the label keeps lambda, which is the batch's.
            lam = next(share for i, j, share in pairs if 1 / 3 < counts[i] / counts[j] < 3)
            for mine, theirs, share in pairs:
                ratio = counts[mine] / counts[theirs]
                expected = 0.0 if ratio >= 3 and lam < tau else 1.0 if ratio <= 1 / 3 and 1 - lam < tau else lam
                assert share == pytest.approx(expected)
                seen.add(float(expected) if expected in (0.0, 1.0) else 0.5)
    assert seen == {0.0, 0.5, 1.0}


def kept_by_hand(values, y, rate):
    kept = np.zeros(len(y))
    for code in np.unique(y):
        members = np.flatnonzero(y == code)
        count = max(1, len(members) - int(np.floor(rate * len(members) + 1e-4)))
        kept[members[np.argsort(values[members], kind="stable")[:count]]] = 1
    return kept


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("rate", [0.2, 0.5, 1.0])
def test_small_losses_are_chosen_within_each_class(rate, reduction):
    x, y, w = problem()
    w[3] = 0.0
    model = network(linear=True)
    kernel, bias = model.get_weights()
    model.compile(keras.optimizers.SGD(0.0), entropy(reduction), steps=[steps.SmallLoss(forget_rate=rate)])
    history = model.fit(x, y, sample_weight=w, batch_size=24, verbose=0, shuffle=False)
    values = -np.log(softmax(x @ kernel + bias))[np.arange(len(y)), y]
    ranked = w > 0
    kept = np.ones(len(y))
    kept[ranked] = kept_by_hand(values[ranked], y[ranked], rate)
    assert set(y[kept > 0]) == set(range(CLASSES)), "each class survives"
    divisor = {"sum_over_batch_size": kept.sum(), "mean_with_sample_weight": (kept * w).sum(), "sum": 1.0}[reduction]
    assert history.history["loss"] == pytest.approx([(kept * w * values).sum() / divisor], rel=1e-5)


@pytest.mark.parametrize("from_logits", [True, False])
def test_rdrop_by_hand(from_logits):
    rng = np.random.default_rng(0)
    logits, w = rng.normal(size=(2, 6, CLASSES)).astype("float32"), rng.uniform(0.5, 2.0, 6).astype("float32")
    p, q = softmax(logits[0]), softmax(logits[1])
    passes = iter(
        [
            (ops.convert_to_tensor(1.0), logits[0] if from_logits else p),
            (ops.convert_to_tensor(3.0), logits[1] if from_logits else q),
        ]
    )
    model = network(linear=True)
    model.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True))
    batch = steps.Batch(None, (steps.Target(np.zeros(6, "int32"), w),))
    step = steps.RDrop(alpha=3.0, from_logits=from_logits)
    loss, _ = step.forward(model, lambda batch: tuple(map(ops.convert_to_tensor, next(passes))), batch)
    divergence = (p * np.log(p / q)).sum(axis=1) + (q * np.log(q / p)).sum(axis=1)
    assert float(loss) == pytest.approx(2.0 + 3.0 / 4 * (w * divergence).mean(), rel=1e-5)


# -- what is refused ---------------------------------------------------------------------------------------


def test_steps_beside_an_own_train_step_are_refused():
    class Own(tailfit.Model):
        def train_step(self, data):
            return super().train_step(data)

    inputs = keras.Input((2,))
    model = Own(inputs, keras.layers.Dense(1)(inputs))
    with pytest.raises(StepError, match=r"steps= for Own, which overrides train_step"):
        model.compile("sgd", "mse", steps=[steps.SAM()])
    model.compile("sgd", "mse", steps=[])


@pytest.mark.parametrize("given", [[steps.SAM], ["mixup"], steps.SAM(), [keras.layers.Dropout(0.1)]])
def test_only_steps_are_steps(given):
    with pytest.raises(StepError, match="steps"):
        network().compile("sgd", "mse", steps=given)


REFUSED = {
    "alpha": lambda: steps.Mixup(alpha=-1.0),
    "a schedule's alpha": lambda: steps.CutMix(alpha=Linear(1.0, -1.0, epochs=3)),
    "kappa": lambda: steps.Remix(class_counts=[1, 2], kappa=0.5),
    "tau": lambda: steps.Remix(class_counts=[1, 2], tau=1.5),
    "counts": lambda: steps.Remix(class_counts=[1, 0]),
    "format": lambda: steps.CutMix(data_format="first"),
    "rho": lambda: steps.SAM(rho=-0.1),
    "tail": lambda: steps.ImbSAM(class_counts=[500, 200], threshold=100),
    "from_logits": lambda: steps.RDrop(),
    "forget_rate": lambda: steps.SmallLoss(forget_rate=1.5),
    "parts": lambda: steps.Accumulate(parts=0),
    "seed": lambda: steps.Mixup(seed="a"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arguments_out_of_range_are_refused(name):
    with pytest.raises(ArgumentError, match="Fix: "):
        REFUSED[name]()


def test_inputs_that_cannot_be_mixed_are_refused():
    y = np.arange(4)
    tokens = steps.Batch(np.ones((4, 3), "int32"), (steps.Target(y),))
    with pytest.raises(StepError, match="int32"):
        steps.Mixup().batch(None, tokens)
    with pytest.raises(StepError, match="shape"):
        steps.CutMix().batch(None, tokens)
    with pytest.raises(StepError, match="several arrays"):
        steps.CutMix().batch(None, dataclasses.replace(tokens, x={"a": np.ones((4, 3, 2))}))
    batch = steps.Batch(np.ones((4, 3), "float32"), (steps.Target({"a": y}),))
    with pytest.raises(StepError, match="labels of type dict"):
        steps.Remix(class_counts=[1] * 4).batch(None, batch)


def test_a_hyper_parameter_follows_a_schedule():
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append([w.copy() for w in self.model.get_weights()])

    def run(rho):
        seen.clear()
        model = network(linear=True)
        model.compile(keras.optimizers.SGD(0.5), entropy(), steps=[steps.SAM(rho=rho)])
        x, y, _ = problem()
        model.fit(x, y, batch_size=24, epochs=3, verbose=0, callbacks=[Watch()])
        return [weights[0] for weights in seen]

    fixed, followed = run(0.0), run(Linear(0.0, 2.0, epochs=2))
    np.testing.assert_allclose(fixed[0], followed[0], atol=1e-6)
    assert np.abs(fixed[1] - followed[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "options", "received"),
    [
        ("BCL", {"temperature": 0.0}, "temperature=0.0"),
        ("BCL", {"units": 0}, "units=0"),
        ("BCL", {"views": lambda x: x}, "views of type function"),
        ("CCSAM", {"class_counts": [2, 1], "share": 2}, "share=2"),
        ("DiVE", {"teacher": None, "power": -1}, "power=-1"),
        ("RIDE", {"class_counts": [2, 1], "reweight": 1.5}, "reweight=1.5"),
        ("SADE", {"class_counts": [2, 0]}, "class_counts"),
    ],
)
def test_options_out_of_range_are_refused(name, options, received):
    with pytest.raises(ArgumentError, match=received):
        getattr(steps, name)(**options)
