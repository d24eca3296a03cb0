"""Steps that Keras has no `fit` for: several networks, losses and optimizers, gradients of gradients.

The oracle knows nothing of Keras' models, optimizers or variables: the same mathematics as pure functions of arrays,
differentiated by the backend's own autograd, with updates in NumPy.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.autograd import gradients, numpy, slopes

import tailfit

STEPS, BATCH = 30, 8
Arrays = list[np.ndarray]


class Adam:
    """Kingma & Ba 2015, algorithm 1, in the order of its section 2 (the bias corrections in the step size)."""

    def __init__(self, rate: float) -> None:
        self.rate, self.t, self.moments = rate, 0, None

    def update(self, weights: Arrays, slopes: Sequence[np.ndarray]) -> Arrays:
        self.t += 1
        first, second = self.moments or ([0.0] * len(weights), [0.0] * len(weights))
        first = [0.9 * m + 0.1 * g for m, g in zip(first, slopes, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, slopes, strict=True)]
        self.moments = first, second
        rate = self.rate * np.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
        return [w - rate * m / (np.sqrt(v) + 1e-7) for w, m, v in zip(weights, first, second, strict=True)]


def perceptron(width: int, *units: int) -> keras.Sequential:
    hidden = [layers.Dense(n, activation="tanh") for n in units[:-1]]
    return keras.Sequential([keras.Input((width,)), *hidden, layers.Dense(units[-1])])


def apply(weights: Sequence[Any], x: Any) -> Any:
    """What `perceptron` computes, of its kernels and biases."""
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    for kernel, bias in pairs[:-1]:
        x = ops.tanh(ops.matmul(x, kernel) + bias)
    return ops.matmul(x, pairs[-1][0]) + pairs[-1][1]


def by_oracle(weights: Arrays, step: Callable[[Arrays, tuple[Any, ...]], Arrays], data: Sequence[np.ndarray]) -> Arrays:
    for number in range(STEPS):
        batch = tuple(ops.convert_to_tensor(part[number * BATCH :][:BATCH]) for part in data)
        weights = step(weights, batch)
    return weights


def values(*networks: keras.Model) -> Arrays:
    return [numpy(weight) for network in networks for weight in network.trainable_variables]


def assert_close(networks: Sequence[keras.Model], expected: Arrays) -> None:
    for ours, theirs in zip(values(*networks), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-5)


def data(*widths: int) -> Arrays:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(STEPS * BATCH, width)).astype("float32") for width in widths]


def fit(model: tailfit.Model, x: Arrays) -> dict[str, list[float]]:
    history: dict[str, list[float]] = model.fit(tuple(x), batch_size=BATCH, shuffle=False, verbose=0).history
    return history


@pytest.fixture(params=[1, 4], ids=["K=1", "K=4"])
def k(request):
    return request.param


def test_a_gan_with_a_gradient_penalty(k):
    """Gulrajani 2017, algorithm 1: the critic's loss holds the gradient of the critic by records in between."""

    class Gan(tailfit.Model):
        def __init__(self) -> None:
            super().__init__()
            self.generator, self.critic = perceptron(2, 6, 3), perceptron(3, 6, 1)
            self.optimizers = keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.02)
            self.built = True

        def train_step(self, data: Any) -> Any:
            ((real, noise, share),) = data

            def criticise() -> Any:
                fake = self.generator(noise)
                between = share * real + (1 - share) * fake
                _, (slope,) = tailfit.value_and_grad(lambda x: ops.sum(self.critic(x)), inputs=[between])
                penalty = ops.mean(ops.square(ops.sqrt(ops.sum(ops.square(slope), axis=1)) - 1))
                return ops.mean(self.critic(fake)) - ops.mean(self.critic(real)) + 10 * penalty

            def fool() -> Any:
                return -ops.mean(self.critic(self.generator(noise)))

            logs = {}
            for fn, name, optimizer in zip((fool, criticise), ("generator", "critic"), self.optimizers, strict=True):
                weights = getattr(self, name).trainable_variables
                logs[name], found = tailfit.value_and_grad(fn, weights)
                optimizer.apply(found, weights)
            return logs

    def criticise(generator: Sequence[Any], batch: Any) -> Callable[..., Any]:
        real, noise, share = batch
        fake = apply([ops.convert_to_tensor(part, "float32") for part in generator], noise)
        between = share * real + (1 - share) * fake

        def loss(*critic: Any) -> Any:
            (slope,) = slopes(lambda x: ops.sum(apply(critic, x)), [between])
            penalty = ops.mean(ops.square(ops.sqrt(ops.sum(ops.square(slope), axis=1)) - 1))
            return ops.mean(apply(critic, fake)) - ops.mean(apply(critic, real)) + 10 * penalty

        return loss

    adams = Adam(0.01), Adam(0.02)

    def step(weights: Arrays, batch: Any) -> Arrays:
        generator, critic = weights[:4], weights[4:]
        fixed = [ops.convert_to_tensor(part, "float32") for part in critic]
        found = gradients(lambda *own: -ops.mean(apply(fixed, apply(own, batch[1]))), generator)
        generator = adams[0].update(generator, found)
        return [*generator, *adams[1].update(critic, gradients(criticise(generator, batch), critic))]

    gan = Gan()
    gan.compile(steps_per_execution=k)
    x = data(3, 2, 1)
    x[2] = np.random.default_rng(1).uniform(size=(STEPS * BATCH, 1)).astype("float32")
    expected = by_oracle(values(gan.generator, gan.critic), step, x)
    assert set(fit(gan, x)) == {"generator", "critic"}
    assert_close([gan.generator, gan.critic], expected)
    assert [int(numpy(one.iterations)) for one in gan.optimizers] == [STEPS, STEPS]


def test_an_actor_and_a_critic(k):
    """Two heads on a shared trunk: the actor's optimizer moves the trunk, the critic's does not.

    The advantage that the actor's loss holds is a constant of it (Sutton & Barto 2018, section 13.5).
    """

    class ActorCritic(tailfit.Model):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.actor, self.critic = perceptron(4, 6), perceptron(6, 3), perceptron(6, 5, 1)
            self.actors, self.critics = keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.03)
            self.built = True

        def train_step(self, data: Any) -> Any:
            ((state, action, returned),) = data

            def act() -> Any:
                seen = self.trunk(state)
                log_p = ops.log_softmax(self.actor(seen))
                advantage = ops.stop_gradient(returned - self.critic(seen))
                entropy = -ops.mean(ops.sum(ops.exp(log_p) * log_p, axis=1))
                return -ops.mean(ops.sum(action * log_p, axis=1, keepdims=True) * advantage) - 0.01 * entropy

            def judge() -> Any:
                return ops.mean(ops.square(returned - self.critic(self.trunk(state))))

            policy = [*self.trunk.trainable_variables, *self.actor.trainable_variables]
            actor, by_policy = tailfit.value_and_grad(act, policy)
            critic, by_value = tailfit.value_and_grad(judge, self.critic.trainable_variables)
            self.actors.apply(by_policy, policy)
            self.critics.apply(by_value, self.critic.trainable_variables)
            return {"actor": actor, "critic": critic}

    adams = Adam(0.01), Adam(0.03)

    def step(weights: Arrays, batch: Any) -> Arrays:
        state, action, returned = batch
        policy, critic = weights[:4], weights[4:]
        value = apply([ops.convert_to_tensor(w, "float32") for w in critic], _trunk(policy, state))

        def act(*policy: Any) -> Any:
            log_p = ops.log_softmax(apply(policy[2:], apply(policy[:2], state)))
            entropy = -ops.mean(ops.sum(ops.exp(log_p) * log_p, axis=1))
            chosen = ops.sum(action * log_p, axis=1, keepdims=True)
            return -ops.mean(chosen * (returned - value)) - 0.01 * entropy

        by_policy = gradients(act, policy)
        by_value = gradients(lambda *own: ops.mean(ops.square(returned - apply(own, _trunk(policy, state)))), critic)
        return [*adams[0].update(policy, by_policy), *adams[1].update(critic, by_value)]

    model = ActorCritic()
    model.compile(steps_per_execution=k)
    x = data(4, 3, 1)
    x[1] = np.eye(3, dtype="float32")[np.random.default_rng(2).integers(0, 3, STEPS * BATCH)]
    networks = [model.trunk, model.actor, model.critic]
    expected = by_oracle(values(*networks), step, x)
    fit(model, x)
    assert_close(networks, expected)


def _trunk(policy: Arrays, state: Any) -> Any:
    return apply([ops.convert_to_tensor(w, "float32") for w in policy[:2]], state)


def test_an_adversarial_step(k):
    """Goodfellow 2015, equation in section 5: half the loss of records moved along the sign of their own gradient."""

    class Adversarial(tailfit.Model):
        def train_step(self, data: Any) -> Any:
            ((x, y),) = data

            def loss_of(x: Any) -> Any:
                return ops.mean(ops.square(self(x) - y))

            _, (slope,) = tailfit.value_and_grad(loss_of, inputs=[x])
            moved = x + 0.1 * ops.sign(slope)
            loss, found = tailfit.value_and_grad(
                lambda: 0.5 * loss_of(x) + 0.5 * loss_of(moved), self.trainable_variables
            )
            self.optimizer.apply(found, self.trainable_variables)
            return {"loss": loss}

        def test_step(self, data: Any) -> Any:
            ((x, y),) = data
            return {"loss": ops.mean(ops.square(self(x) - y))}

    adam = Adam(0.01)

    def step(weights: Arrays, batch: Any) -> Arrays:
        x, y = batch

        def loss_of(x: Any, weights: Sequence[Any]) -> Any:
            return ops.mean(ops.square(apply(weights, x) - y))

        fixed = [ops.convert_to_tensor(w, "float32") for w in weights]
        moved = x + 0.1 * ops.sign(ops.stop_gradient(slopes(lambda x: loss_of(x, fixed), [x])[0]))
        return adam.update(weights, gradients(lambda *w: 0.5 * loss_of(x, w) + 0.5 * loss_of(moved, w), weights))

    inner = perceptron(4, 6, 2)
    model = Adversarial(inner.inputs, inner.outputs)
    model.compile(keras.optimizers.Adam(0.01), steps_per_execution=k)
    x = data(4, 2)
    expected = by_oracle(values(model), step, x)
    history = fit(model, x)
    assert_close([model], expected)
    # A step that returns a loss and counts none: Keras would show 0.
    fixed = [ops.convert_to_tensor(w, "float32") for w in expected]
    after = numpy(ops.mean(ops.square(apply(fixed, x[0]) - ops.convert_to_tensor(x[1]))))
    assert history["loss"][0] > after
    assert model.evaluate(tuple(x), batch_size=64, verbose=0) == pytest.approx(after, rel=1e-3)
