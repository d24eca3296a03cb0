"""
The complete workflow: records from disk, two classifiers, a report
===================================================================

`tailfit demo` runs this file, and so does `python examples/demo.py`. `Reading a report <read_report.html>`_ shows
what it finds.
"""

# sphinx_gallery_thumbnail_path = 'images/demo.svg'

import sys
from pathlib import Path

import keras
import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import Progress
from sklearn.datasets import load_digits

import tailfit

EPOCHS, BATCH_SIZE, RATIO, TRUST = 50, 32, 56, 0.25

DATA = """
Ten "root causes" (scikit-learn's handwritten digits: real 8x8 records, no download) form a long tail: the most frequent
cause has about a hundred training records, the rarest has two. Three in ten labels come from a hurried site, which
assigns a wrong, common cause to half of its records. The same network is trained twice from the same files: by plain
fit, and with methods for such data.
"""


def write_records(folder: Path, seed: int) -> None:
    """Write the common layout: data/<ID>.npy, partition.json, labels.json, metadata.parquet."""
    rng = np.random.default_rng(seed)
    images, causes = load_digits(return_X_y=True)
    records = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
    names = [f"cause {digit}" for digit in range(10)]
    ids = np.array([f"record-{i:04d}" for i in range(len(causes))])

    # First hold out a test part and a small validation part, which keep all records and the true labels.
    everything = tailfit.data.Arrays(records, causes, ids=ids)
    train, validation, test = everything.split(0.65, 0.05, 0.30, seed=seed)

    # Subsample the training part to a long tail: cause k keeps a fraction RATIO ** (-k / 9) of its records.
    of_cause = [train.indices[causes[train.indices] == k] for k in range(10)]
    largest = min(map(len, of_cause))
    kept = np.concatenate([rng.permutation(of_cause[k])[: round(largest * RATIO ** (-k / 9))] for k in range(10)])

    # A hurried site labelled 30 % of them (but at most all except two records of a cause). Half of its labels are
    # wrong: each is a different one of the five most common causes.
    labels, site = causes.copy(), np.full(len(causes), "careful", dtype="<U7")
    counts = np.bincount(causes[kept], minlength=10)
    spare = np.concatenate([kept[causes[kept] == k][2:] for k in range(10)])
    hurried = rng.choice(spare, size=round(0.30 * len(kept)), replace=False)
    site[hurried] = "hurried"
    for i in rng.choice(hurried, size=len(hurried) // 2, replace=False):
        others = np.where(np.arange(5) == causes[i], 0, counts[:5])
        labels[i] = rng.choice(5, p=others / others.sum())

    chosen = np.sort(np.concatenate([kept, validation.indices, test.indices]))
    tailfit.data.save_npy_folder(
        folder,
        records[chosen],
        [names[k] for k in labels[chosen]],
        ids=ids[chosen],
        metadata=pl.DataFrame({"id": ids[chosen], "site": site[chosen]}),
        partition={"train": sorted(ids[kept]), "validation": list(validation.ids), "test": list(test.ids)},
        class_names=names,
        overwrite=True,
    )


def network(model_class: type[keras.Model]) -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(64, activation="relu")(x)
    return model_class(inputs, keras.layers.Dense(10, name="causes")(x))


class Tailored(tailfit.Model):
    """A model with a custom training step; the same code runs compiled on JAX, TensorFlow and PyTorch."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

        def forward():
            y_pred = self(x, training=True)
            return self.compute_loss(x, y, y_pred, sample_weight), y_pred

        (loss, y_pred), gradients = tailfit.value_and_grad(forward, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return self.update_metrics(loss, x, y, y_pred, sample_weight)


def train_plain(parts: dict, seed: int) -> keras.Model:
    model = network(keras.Model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    fit(model, loss, tailfit.Batches(parts["train"], BATCH_SIZE, seed=seed), parts["validation"], "plain fit")
    return model


def train_tailored(parts: dict, seed: int) -> keras.Model:
    model, train = network(Tailored), parts["train"]
    batches = tailfit.Batches(
        train,
        BATCH_SIZE,
        # Draw rare causes more often: in proportion to the square root of their number of records.
        sampler=tailfit.samplers.ClassBalanced(power=0.5),
        # Give the labels of the hurried site less weight.
        sample_weight=tailfit.weights.sample_weights(train, {"site = 'hurried'": TRUST}),
        seed=seed,
    )
    # The loss corrects the remaining imbalance. It needs the class counts of the stream *as sampled and weighted*,
    # which Batches computes: with the counts of the data it would correct the imbalance twice.
    loss = tailfit.losses.LogitAdjusted(batches.class_counts, from_logits=True)
    fit(model, loss, batches, parts["validation"], "tailored")
    return model


def fit(model: keras.Model, loss, batches: tailfit.Batches, validation, name: str) -> None:
    """Train a model with the optimizer, batch size and epochs that both have in common."""
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=[tailfit.metrics.BalancedAccuracy()])
    validation_batches = tailfit.Batches(validation, BATCH_SIZE, tailfit.samplers.Sequential())
    with Progress() as bar:
        task = bar.add_task(name, total=EPOCHS)

        def show(epoch, logs):
            accuracy = logs["val_balanced_accuracy"]
            text = f"{name}: loss {logs['loss']:.3f}, validation balanced accuracy {accuracy:.3f}"
            bar.update(task, completed=epoch + 1, description=text)

        progress = keras.callbacks.LambdaCallback(on_epoch_end=show)
        # A plain keras.Model needs shuffle=False, because the Batches are already shuffled, reproducibly.
        model.fit(
            batches, validation_data=validation_batches, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[progress]
        )


def main(out: Path, seed: int = 0) -> dict[str, tailfit.Evaluation]:
    records = out / "records"
    write_records(records, seed)
    parts = tailfit.data.open(records).split(records / "partition.json")
    test = parts["test"]
    evaluations = {}
    for name, train in {"plain fit": train_plain, "tailored": train_tailored}.items():
        keras.utils.set_random_seed(seed)
        model = train(parts, seed)
        scores = model.predict(test.read(np.arange(len(test))), verbose=0)
        evaluations[name] = tailfit.evaluate(
            test.labels, scores, test.class_names, parts["train"].class_counts, name=name
        )
        model.save(out / f"{name.replace(' ', '-')}.keras")
        evaluations[name].save_json(out / f"{name.replace(' ', '-')}.json")
    tailfit.evaluation.report(
        evaluations,
        out / "report.html",
        title="tailfit demo: long-tailed records, labels of unequal trust",
        notes=[" ".join(DATA.split())],
        details={"Keras": f"{keras.__version__} on {keras.backend.backend()}", "seed": str(seed)},
    )
    console = Console() if sys.stdout.isatty() else Console(width=100)  # a file or a pipe has no width
    console.print(tailfit.evaluation.compare_table(evaluations))
    console.print("Written:", *sorted(path for path in out.iterdir() if not path.name.startswith(".")), sep="\n  ")
    return evaluations


if __name__ == "__main__":
    main(Path("tailfit-demo"))
