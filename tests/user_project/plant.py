"""A user's project, as types see it: mypy --strict and pyright must accept it against the installed wheel."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tailfit


class Network(tailfit.Model):
    """A step of one's own."""

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)

        def objective() -> Any:
            return self.compute_loss(x, y, self(x, training=True), weight, training=True)

        loss, gradients = tailfit.value_and_grad(objective, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


def batches_of(source: tailfit.data.Source, trust: Mapping[str, float]) -> tailfit.Batches:
    return tailfit.Batches(
        source,
        batch_size=16,
        sampler=tailfit.samplers.ClassBalanced(power=0.5),
        sample_weight=tailfit.weights.sample_weights(source, dict(trust)),
        seed=1,
    )


def train(folder: Path) -> tailfit.Evaluation:
    rng = np.random.default_rng(0)
    labels = np.repeat(["normal", "leak"], [60, 20])
    readings = rng.normal(size=(80, 8)).astype("float32") + (labels == "leak")[:, None]
    source = tailfit.data.Arrays(readings, labels)
    train, test = source.split(0.5, 0.5, seed=0)
    batches = batches_of(train, {"leak": 2.0})
    inputs = keras.Input((8,))
    model = Network(inputs, keras.layers.Dense(2)(inputs))
    model.compile("adam", tailfit.losses.LogitAdjusted(batches.class_counts, from_logits=True))
    model.fit(batches, epochs=2, verbose=0, callbacks=[tailfit.callbacks.Resume(folder / "resume")])
    scores = model.predict(tailfit.Batches(test), verbose=0)
    evaluation = tailfit.evaluate(test.labels, scores, test.class_names, train.class_counts)
    evaluation.save_html(folder / "report.html")
    return evaluation


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        print(train(Path(folder)))
