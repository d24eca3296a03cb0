"""What a run leaves and is read again: evaluations, comparisons, run.json, result.json, checkpoints, weights."""

import contextlib
import hashlib
import json
import math
import shutil
from typing import Any

import numpy as np
import safetensors.numpy

from fuzz.bounds import REFUSED, answer, scratch
from fuzz.of_records import LABELS, X, equal
from fuzz.targets import parser
from tailfit import evaluate
from tailfit.data import Arrays, Packed, pack
from tailfit.evaluation import Comparison, Evaluation, compare_table, comparison
from tailfit.recipes.directory import read_claim
from tailfit.resume import tensors
from tailfit.resume.encoding import CannotEncodeError, decode, encode
from tailfit.resume.store import Position, Store


def evaluations() -> list[bytes]:
    plain = evaluate([0, 1, 1, 2], [0, 1, 0, 1], ["a", "b", "c"], [5, 6, 7], resamples=50)
    return [plain.to_json().encode(), evaluate([0, 1], [0, 1], ["x", "y"], resamples=50).to_json().encode()]


@parser(evaluations, json=True)
def evaluation(data: bytes) -> None:
    read = answer(lambda: Evaluation.from_json(data.decode("utf-8", "surrogateescape")))
    if read is REFUSED:
        return
    text = read.to_json()
    assert Evaluation.from_json(text) == read
    again = evaluate(read.y_true, read.y_pred, read.class_names, read.train_counts, resamples=50)
    assert math.isclose(again.balanced_accuracy, read.balanced_accuracy, abs_tol=1e-6), (
        "figures that its samples have not"
    )
    str(read)
    answer(lambda: compare_table({"one": read, "other": read}))


def comparisons() -> list[bytes]:
    one, other = (evaluate([0, 1, 1, 0], [0, 1, guess, 0], ["a", "b"], resamples=50) for guess in (0, 1))
    return [comparison({"plain": [one, one], "tailored": [other, one]}, resamples=100).to_json().encode()]


@parser(comparisons, json=True, longest=1 << 13)
def compared(data: bytes) -> None:
    read = answer(lambda: Comparison.from_json(data.decode("utf-8", "surrogateescape")))
    if read is not REFUSED:
        assert Comparison.from_json(read.to_json()) == read
        str(read)


CLAIM = {"recipe": {"data": {"path": "x"}}, "folder": "/data", "backend": "jax", "data": {"count": 1}}


@parser(lambda: [json.dumps({"format": "tailfit.run", "version": 2, **CLAIM}).encode()], json=True)
def run_json(data: bytes) -> None:
    root = scratch("run")
    (root / "run.json").write_bytes(data)
    claim = answer(lambda: read_claim(root))
    if claim is not REFUSED:
        assert isinstance(claim.recipe, dict)
        json.dumps(claim.as_json())


# -- checkpoints ----------------------------------------------------------------------------------------

ARRAYS = {"kernel": np.eye(2, dtype=np.float32), "n": np.array(3), "flags": np.array([True, False])}


def safetensors_seeds() -> list[bytes]:
    return [b"".join(tensors.parts(ARRAYS)), safetensors.numpy.save(ARRAYS), b"".join(tensors.parts({}))]


@parser(
    safetensors_seeds, words=('"dtype"', '"F32"', '"BF16"', '"shape"', '"data_offsets"', "[0,16]", '"__metadata__"')
)
def weights(data: bytes) -> None:
    path = scratch("weights") / "weights.safetensors"
    path.write_bytes(data)
    found = answer(lambda: tensors.read(path))
    try:
        known = safetensors.numpy.load(data)
    except Exception:
        known = None
    if found is not REFUSED and known is not None:
        assert equal(found, known), "other arrays than safetensors reads"


@parser(lambda: [seed[8 : 8 + int.from_bytes(seed[:8], "little")] for seed in safetensors_seeds()], json=True)
def weights_header(data: bytes) -> None:
    """The header alone, before arrays of the size that it needs."""
    weights(len(data).to_bytes(8, "little") + data + bytes(22))
    weights(len(data).to_bytes(8, "little") + data + bytes(26))


VALUE = {
    "best": float("inf"),
    "wait": 1,
    "pair": (1, "a"),
    "keys": {1: "one"},
    "kept": [np.eye(2), np.float32(1)],
    "log": b"x",
}
HELD: dict[str, Any] = dict(ARRAYS)
STATE = {"callbacks": encode(VALUE, HELD, "x.callbacks"), "stopped": False}


@parser(
    lambda: [
        json.dumps(STATE).encode(),
        b"{}",
        b'{"format": 2}',
        b'{"callbacks": {"$scalar": "n", "$bytes": "flags"}}',
    ],
    json=True,
)
def checkpoint_state(data: bytes) -> None:
    """A state whose checksum is right, whatever it says."""
    store, position = Store(scratch("checkpoint")), Position(0, 8)
    folder = store.directory / position.name
    folder.mkdir(exist_ok=True)
    whole = b"".join(tensors.parts(HELD))
    (folder / "arrays.safetensors").write_bytes(whole)
    entry = {"bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}
    inner = data.strip()
    text = inner[:-1].rstrip() + (b"," if len(inner) > 2 else b"")
    text += f'"position": [0, 8], "arrays": {json.dumps(entry)}\n}}'.encode()
    seal = json.dumps({"sha256": hashlib.sha256(text).hexdigest()})
    (folder / "state.json").write_bytes(text[:-2] + b',\n "seal": ' + seal.encode() + b"\n}\n")
    found = answer(lambda: store.read(position))
    if found is not REFUSED:
        decoded({"callbacks": found.state.get("callbacks")}, found.arrays)


def decoded(state: Any, arrays: Any) -> None:
    """What was encoded is decoded to the same; else `decode` raises what it says that it does."""
    sound = state["callbacks"] == STATE["callbacks"]
    try:
        value = decode(state, arrays, "x")
    except (KeyError, ValueError, TypeError):
        assert not sound
        return
    # By key, because a document may have its keys in any order.
    assert not sound or {key: repr(value["callbacks"][key]) for key in VALUE} == {
        key: repr(VALUE[key]) for key in VALUE
    }
    again: dict[str, Any] = {}
    try:
        coded = encode(value, again, "x")
    except CannotEncodeError:
        return
    assert repr(decode(coded, again, "x")) == repr(value)


@parser(lambda: [b"".join(tensors.parts(ARRAYS)), b'{"a": 1}'])
def checkpoint_bytes(data: bytes) -> None:
    """What was not written is never taken for a checkpoint."""
    store, position = Store(scratch("damaged")), Position(0, 8)
    if not (store.directory / position.name).exists():
        store.write(position, STATE, ARRAYS)
    for name in ("state.json", "arrays.safetensors"):
        path = store.directory / position.name / name
        whole = path.read_bytes()
        path.write_bytes(data)
        assert (answer(lambda: store.read(position)) is REFUSED) == (data != whole)
        path.write_bytes(whole)


def pack_states() -> list[bytes]:
    """The state of a packing after the first of two shards."""

    def cut_off(done: int, total: int) -> None:
        raise InterruptedError

    target = scratch("pack-seeds") / "set"
    with contextlib.suppress(InterruptedError):
        pack(Arrays(X, LABELS), target, shard_bytes=32, progress=cut_off)
    return [(target.with_name(".set.partial") / "state.json").read_bytes(), b""]


@parser(pack_states, json=True)
def pack_state(data: bytes) -> None:
    """The state of a packing that was cut off, which is gone on with or refused."""
    target = scratch("pack") / "set"
    draft = target.with_name(".set.partial")
    draft.mkdir(exist_ok=True)
    (draft / "state.json").write_bytes(data)
    if answer(lambda: pack(Arrays(X, LABELS), target, shard_bytes=32)) is REFUSED:
        shutil.rmtree(draft)
        return
    found = answer(lambda: Packed(target).read(range(4)))
    shutil.rmtree(target)
    assert found is not REFUSED, "a set that is packed, and can't be read"
    assert equal(found, X), "other records than were packed"
