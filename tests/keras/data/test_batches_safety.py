"""Batches in a process that is interrupted or forked: no threads left, no batch read twice or lost."""

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest

import tailfit
from tailfit.data import NpyFolder


@pytest.fixture
def folder(tmp_path):
    for number in range(24):
        np.save(tmp_path / f"{number:02d}.npy", np.full(2, number, "float32"))
    return NpyFolder(tmp_path, {f"{number:02d}": number % 2 for number in range(24)})


def compiled():
    inputs = keras.Input((2,))
    model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def readers():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tailfit")]


def test_ctrl_c_in_a_fit_leaves_no_reader_and_no_open_file(folder):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, step, logs=None):
            if step == 2:
                assert readers()  # a thread is reading ahead
                signal.raise_signal(signal.SIGINT)

    batches, model = tailfit.Batches(folder, 2, seed=1), compiled()
    model.fit(batches, epochs=1, verbose=0, validation_data=batches)
    opened = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    with pytest.raises(KeyboardInterrupt):
        model.fit(batches, epochs=3, verbose=0, validation_data=batches, callbacks=[Interrupt()])
    assert not readers()
    if opened:
        assert len(list(Path("/proc/self/fd").iterdir())) <= opened
    model.fit(batches, epochs=1, verbose=0)  # training continues


def test_several_batches_read_at_once_each_in_its_order(folder):
    several = [tailfit.Batches(folder, 3, seed=seed, prefetch=seed) for seed in range(4)]
    streams = [batches.iterate(1) for batches in several]
    for step, given in enumerate(zip(*streams, strict=True)):
        for batches, (x, _) in zip(several, given, strict=True):
            assert x[:, 0].astype(int).tolist() == batches.indices(1, step).tolist()
    assert not readers()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.only_on("torch")  # JAX warns of any fork, and the rest is the same on all backends
def test_a_fork_during_an_epoch_continues_like_its_parent(tmp_path):
    """In a separate process, without the threads of this process' backend."""
    script = """
import os, sys
import numpy as np
import tailfit

np.save(sys.argv[1] + "/x.npy", np.arange(40.0))
x = np.load(sys.argv[1] + "/x.npy", mmap_mode="r")
tailfit.data.pack(tailfit.data.Arrays(x, np.arange(40) % 2), sys.argv[1] + "/packed")
for source in (tailfit.data.Arrays(x), tailfit.data.Packed(sys.argv[1] + "/packed", memory=False)):
    batches = tailfit.Batches(source, 4, seed=1, prefetch=2)
    expected = [batch[0].tolist() for batch in batches.iterate(0)]
    stream = batches.iterate(0)
    first = next(stream)[0].tolist()
    child = os.fork()
    if child == 0:
        # The reader thread does not exist in the child, which starts its own stream.
        good = [batch[0].tolist() for batch in batches.iterate(0)] == expected
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [first] + [batch[0].tolist() for batch in stream] == expected
"""
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


_WITHIN_A_LIMIT = """
import json, resource, sys
from pathlib import Path
import keras, numpy as np, tailfit

path, room, memory = sys.argv[1], int(sys.argv[2]), {"auto": "auto", "held": True}[sys.argv[3]]
inputs = keras.Input((1536,))
model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(np.zeros((256, 1536), "float32"), np.zeros(256), batch_size=128, verbose=0)  # all is loaded and compiled

def pages(which):
    return int(Path("/proc/self/statm").read_text().split()[which]) * resource.getpagesize()

resource.setrlimit(resource.RLIMIT_AS, (pages(0) + room, pages(0) + room))
batches = tailfit.Batches(tailfit.data.Packed(path, memory=memory), 128, seed=1)
seen = []

class Watch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        seen.append(pages(1))

model.fit(batches, callbacks=[Watch()], verbose=0)
print(json.dumps({"growth": max(seen) - seen[len(seen) // 10], "steps": len(seen)}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS and /proc are Linux'")
@pytest.mark.mostly_on("jax")  # the memory is mostly that of `Batches`
def test_a_set_larger_than_the_memory_it_may_take_is_trained_on_in_flat_memory(backend, tmp_path):
    if backend == "jax":
        import jax

        if jax.default_backend() != "cpu":
            pytest.skip("the driver of a GPU reserves more addresses than the limit")
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(1 << 15, 1536))  # 192 MiB
    tailfit.data.pack(tailfit.data.Arrays(x, np.arange(len(x)) % 2), tmp_path / "set")

    # The limit counts addresses. glibc reserves 8 MiB for a thread's stack, and 64 MiB for its arena.
    small_stacks = ["sh", "-c", 'ulimit -s 1024; exec "$@"', "sh"]

    def ran(memory):
        return subprocess.run(
            [*small_stacks, sys.executable, "-c", _WITHIN_A_LIMIT, tmp_path / "set", str(160 << 20), memory],
            env={**os.environ, "KERAS_BACKEND": backend, "MALLOC_ARENA_MAX": "1"},
            capture_output=True,
            text=True,
        )

    read = ran("auto")
    assert read.returncode == 0, read.stderr
    told = json.loads(read.stdout.splitlines()[-1])
    assert told["steps"] == 256
    assert told["growth"] < 16 << 20
    held = ran("held")  # so the limit is effective
    assert held.returncode != 0
    assert "emory" in held.stderr


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not list threads")
@pytest.mark.parametrize("where", ["transform", "callback", "interrupt"])
def test_fits_that_fail_leave_no_thread(where):
    """TensorFlow's iterator keeps reading while anything references it, such as an error's traceback."""
    error = KeyboardInterrupt if where == "interrupt" else ZeroDivisionError

    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2 and where != "transform":
                raise error

    def fails(batch, rng):
        return batch if where != "transform" or rng.random() < 0.7 else 1 / 0

    model, source = compiled(), tailfit.data.Arrays(np.zeros((64, 2), "float32"), np.arange(64) % 2)
    counts = []
    for seed in range(6):
        batches = tailfit.Batches(source, 4, seed=seed, transform=fails)
        with pytest.raises(error):
            model.fit(batches, epochs=2, verbose=0, validation_data=batches, callbacks=[Fails()])
        del batches
        gc.collect()
        counts.append(len(list(Path("/proc/self/task").iterdir())))
    assert counts[-1] <= counts[1]  # the first fit starts pools that are kept


@pytest.mark.parametrize("ended", ["at its end", "early", "by an error"])
def test_records_are_released_with_their_loop(ended):
    """By itself, TensorFlow keeps the data of each loop forever, for example of every cross-validation fold."""

    class Ends(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = ended == "early"
            if ended == "by an error":
                raise ZeroDivisionError

    model, held = compiled(), []
    for seed in range(3):
        source = tailfit.data.Arrays(np.zeros((64, 2), "float32"), np.arange(64) % 2)
        batches = tailfit.Batches(source, 4, seed=seed)
        with contextlib.suppress(ZeroDivisionError):
            model.fit(batches, epochs=2, verbose=0, validation_data=batches, callbacks=[Ends()])
        model.evaluate(batches, verbose=0)
        model.predict(batches, verbose=0)
        held.append(weakref.ref(source))
        del source, batches
    gc.collect()
    assert [one() for one in held] == [None, None, None]


_ENDED_EARLY = """
import keras, numpy as np, tailfit
inputs = keras.Input((2,))
model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
class Ends(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = True
for seed in range(20):
    batches = tailfit.Batches(tailfit.data.Arrays(np.zeros((4096, 2), "float32"), np.arange(4096) % 2), 16, seed=seed)
    model.fit(batches, verbose=0, callbacks=[Ends()])
    model.evaluate(batches, steps=2, verbose=0)
"""


@pytest.mark.slow
def test_early_ends_write_nothing_to_the_log(backend):
    """TensorFlow continues to read for a while after a loop, and logs errors there."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "0"}
    done = subprocess.run([sys.executable, "-c", _ENDED_EARLY], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "registry" not in done.stderr
