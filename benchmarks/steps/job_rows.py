"""The rows of job.py, each the whole training of one process, and that process.

    KERAS_BACKEND=jax python benchmarks/steps/job_rows.py ROW FOLDER [--check]

FOLDER holds `x.npy` and `y.npy`. Prints one line of JSON.
"""

import contextlib
import importlib
import json
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from networks import Job, Network

BATCH, EPOCHS, CHECKED = 256, 3, 2_560
NETWORK = Network(
    "1-D convnet 16-pool-32-pool-10", (128, 12), (("conv", 16, 5), ("pool",), ("conv", 32, 5), ("pool",), ("mean",))
)
DATASET, DATASET_KEPT = "Keras fit of a PyDataset", "Keras fit of a PyDataset, keep_memory"
ARRAYS = "Keras fit of arrays"
OURS, OURS_KEPT, OURS_K = (
    "tailfit.Model, Batches",
    "tailfit.Model, Batches, keep_memory",
    "tailfit.Model, Batches, K=32",
)
LIMIT = "the same steps on one batch (limit)"
_EVERYWHERE = [DATASET, DATASET_KEPT, ARRAYS, OURS, OURS_KEPT, OURS_K]
_BY_HAND = ["torch, plain loop, DataLoader", "Lightning", "skorch"]
ROWS = {
    "jax": [*_EVERYWHERE, LIMIT],
    "tensorflow": [*_EVERYWHERE, LIMIT],
    "torch": [*_EVERYWHERE, *_BY_HAND, LIMIT],
}


class OneBatch(Job):
    """A job whose every step trains on the same batch, which is converted once."""

    def take(self, chosen: np.ndarray) -> Any:
        made = self.__dict__.get("made")
        if made is None:
            import keras

            first = super().take(np.arange(self.batch))
            made = self.__dict__["made"] = tuple(map(keras.ops.convert_to_tensor, first))
        return made


def keras_fit(job: Job, epochs: int, shuffle: bool, ours: bool = False, dataset: bool = False, k: int = 1) -> Any:
    """Train with `keras.Model.fit` or `tailfit.Model.fit`; return the seconds of each epoch and the losses."""
    import keras
    from rows import build

    import tailfit

    class Clock(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds.append(time.perf_counter() - self.began)

    class Records(keras.utils.PyDataset):
        """Batches in random order, as the guide of Keras writes them."""

        def __init__(self) -> None:
            super().__init__()
            self.order = np.arange(len(job.x))
            self.on_epoch_end()

        def __len__(self) -> int:
            return -(-len(job.x) // BATCH)

        def __getitem__(self, index: int) -> Any:
            chosen = self.order[index * BATCH : (index + 1) * BATCH]
            return job.x[chosen], job.y[chosen]

        def on_epoch_end(self) -> None:
            if shuffle:
                np.random.default_rng().shuffle(self.order)

    model = build(job, tailfit.Model if ours else keras.Model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"], steps_per_execution=k)
    clock = Clock()
    given: dict[str, Any] = {"epochs": epochs, "verbose": 0, "callbacks": [clock]}
    if ours:
        sampler = tailfit.samplers.Shuffle() if shuffle else tailfit.samplers.Sequential()
        history = model.fit(tailfit.Batches(tailfit.data.Arrays(job.x, job.y), BATCH, sampler), **given)
    elif dataset:
        history = model.fit(Records(), shuffle=False, **given)
    else:
        history = model.fit(job.x, job.y, batch_size=BATCH, shuffle=shuffle, **given)
    return clock.seconds, history.history["loss"]


def limit(job: Job, epochs: int, shuffle: bool) -> Any:
    """Repeat the step on one batch in a loop written by hand; its loss is not that of the others."""
    import keras

    same = OneBatch(job.network, job.x[:BATCH], job.y[:BATCH], batch=BATCH)
    if keras.backend.backend() == "torch":
        return torch_limit(job, epochs)
    if keras.backend.backend() == "jax":
        epoch = importlib.import_module("loop_jax").by_hand(same, scanned=False)
    else:
        epoch = importlib.import_module("loop_tensorflow").tape(same, compiled=True)
    seconds = [epoch(len(job.x) // BATCH * BATCH, False)[0] for _ in range(epochs)]
    return seconds, None


def torch_data(job: Job) -> Any:
    """The records as torch has them, with the channels first."""
    import torch

    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(job.x, -1, 1)))
    return x, torch.from_numpy(job.y.astype("int64"))


def torch_limit(job: Job, epochs: int) -> Any:
    import torch
    from loop_torch import build

    model = build(job.network)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
    x, y = torch_data(Job(job.network, job.x[:BATCH], job.y[:BATCH]))
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        for _ in range(-(-len(job.x) // BATCH)):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    return seconds, None


def torch_loop(job: Job, epochs: int, shuffle: bool) -> Any:
    """Train in the loop of PyTorch's guides."""
    import torch
    from loop_torch import build
    from torch.utils.data import DataLoader, TensorDataset

    model = build(job.network)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
    loader = DataLoader(TensorDataset(*torch_data(job)), batch_size=BATCH, shuffle=shuffle)
    seconds, losses = [], []
    for _ in range(epochs):
        start = time.perf_counter()
        total, hits = torch.zeros(()), torch.zeros(())
        for x, y in loader:
            optimizer.zero_grad()
            logits = model(x)
            loss = torch.nn.functional.cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(y)
            hits += (logits.argmax(dim=1) == y).sum()
        losses.append(float(total) / len(job.x))
        float(hits)
        seconds.append(time.perf_counter() - start)
    return seconds, losses


def with_lightning(job: Job, epochs: int, shuffle: bool) -> Any:
    """Train with Lightning's Trainer, without logging and checkpoints."""
    import lightning
    import torch
    from loop_torch import build
    from torch.utils.data import DataLoader, TensorDataset

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = build(job.network)

        def training_step(self, batch: Any, number: int) -> Any:
            x, y = batch
            logits = self.network(x)
            loss = torch.nn.functional.cross_entropy(logits, y)
            accuracy = (logits.argmax(dim=1) == y).float().mean()
            self.log_dict({"loss": loss, "accuracy": accuracy}, on_step=False, on_epoch=True, batch_size=len(y))
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-3, eps=1e-7)

    class Clock(lightning.Callback):
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.losses: list[float] = []

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            self.began = time.perf_counter()

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            self.losses.append(float(trainer.callback_metrics["loss"]))
            self.seconds.append(time.perf_counter() - self.began)

    clock = Clock()
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, callbacks=[clock], **dict.fromkeys(off, False)
    )
    trainer.fit(Classifier(), DataLoader(TensorDataset(*torch_data(job)), batch_size=BATCH, shuffle=shuffle))
    return clock.seconds, clock.losses


def with_skorch(job: Job, epochs: int, shuffle: bool) -> Any:
    """Train with skorch's classifier, without validation."""
    import skorch
    import torch
    from loop_torch import build

    accuracy = skorch.callbacks.EpochScoring("accuracy", lower_is_better=False, on_train=True, name="train_acc")
    net = skorch.NeuralNetClassifier(
        build(job.network),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        optimizer__eps=1e-7,
        lr=1e-3,
        batch_size=BATCH,
        max_epochs=epochs,
        iterator_train__shuffle=shuffle,
        train_split=None,
        callbacks=[accuracy],
        verbose=0,
    )
    net.fit(*torch_data(job))
    return net.history[:, "dur"], net.history[:, "train_loss"]


_TRAIN: dict[str, Any] = {
    DATASET: partial(keras_fit, dataset=True),
    DATASET_KEPT: partial(keras_fit, dataset=True),
    ARRAYS: keras_fit,
    OURS: partial(keras_fit, ours=True),
    OURS_KEPT: partial(keras_fit, ours=True),
    OURS_K: partial(keras_fit, ours=True, k=32),
    **dict(zip(_BY_HAND, (torch_loop, with_lightning, with_skorch), strict=True)),
    LIMIT: limit,
}
_MODULES = {"Lightning": "lightning", "skorch": "skorch", _BY_HAND[0]: "torch"}


def main() -> None:
    row, folder = sys.argv[1], Path(sys.argv[2])
    module = importlib.import_module(_MODULES.get(row, "tailfit"))
    if (row.endswith("keep_memory") or row == LIMIT) and not module.keep_memory():
        raise SystemExit("keep_memory does nothing here")
    if row not in _MODULES:
        importlib.import_module("rows")  # Keras
    if row in (OURS, OURS_KEPT, OURS_K):
        module.Model, module.Batches  # noqa: B018 - tailfit imports its rooms on first use
    job = Job(NETWORK, np.load(folder / "x.npy"), np.load(folder / "y.npy"), batch=BATCH)
    measured: dict[str, Any] = {"package": f"{row} {module.__version__}"} if row in ("Lightning", "skorch") else {}
    with contextlib.redirect_stdout(sys.stderr):
        start, used = time.perf_counter(), time.process_time()
        seconds, _ = _TRAIN[row](job, EPOCHS, True)
        measured["whole"], measured["used"] = time.perf_counter() - start, time.process_time() - used
        measured["epoch"] = statistics.median(seconds[1:])
        # Not ru_maxrss, which a process inherits from the one that starts it.
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        measured["peak"] = int(status["VmHWM"].split()[0]) / 1024
        if "--check" in sys.argv:
            _, losses = _TRAIN[row](Job(NETWORK, job.x[:CHECKED], job.y[:CHECKED], batch=BATCH), 1, False)
            measured |= {"loss": float(losses[0])} if losses else {}
    print(json.dumps(measured))


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "jax")
    main()
