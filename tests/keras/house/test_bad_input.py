"""Bad input to what needs Keras: Batches, losses, metrics, Resume; each call raises one error, in three parts."""

import math
import re

import keras
import numpy as np
import pytest

import tailfit
from tailfit import losses, metrics, posthoc, steps
from tailfit.callbacks import Resume
from tailfit.errors import ArgumentError, TailfitError

pytestmark = pytest.mark.above_training

NAN = math.nan
SOURCE = tailfit.data.Arrays(np.zeros((6, 2)), [0, 1, 2, 0, 1, 2])


def batches(**arguments):
    return lambda: tailfit.Batches(**{"source": SOURCE, "batch_size": 2, **arguments})


def loss(name, **arguments):
    return lambda: getattr(losses, name)(**{"from_logits": True, **arguments})


CASES = {
    "a batch size of zero": (batches(batch_size=0), ArgumentError, "batch_size=0"),
    "a batch size of text": (batches(batch_size="8"), ArgumentError, "batch_size='8'"),
    "a batch size of half a sample": (batches(batch_size=2.5), ArgumentError, "batch_size=2.5"),
    "batches of an array": (batches(source=np.zeros((6, 2))), ArgumentError, "ndarray"),
    "batches of nothing": (batches(source=None), ArgumentError, "NoneType|None"),
    "a sampler that is none": (batches(sampler="shuffle"), ArgumentError, "sampler"),
    "a sampler that is a class": (batches(sampler=tailfit.samplers.Shuffle), ArgumentError, "sampler"),
    "a negative seed": (batches(seed=-1), ArgumentError, "seed=-1"),
    "a shard beyond its number": (batches(shard=(2, 2)), ArgumentError, "shard"),
    "a shard that is a number": (batches(shard=1), ArgumentError, "shard"),
    "a shard of text": (batches(shard="01"), ArgumentError, "shard"),
    "negative reading ahead": (batches(prefetch=-1), ArgumentError, "prefetch=-1"),
    "processes of text": (batches(processes="2"), ArgumentError, "processes='2'"),
    "another way with errors": (batches(on_error="ignore"), ArgumentError, "on_error='ignore'"),
    "a transform that is none": (batches(transform=3), ArgumentError, "transform"),
    "one_hot of text": (batches(one_hot="yes"), ArgumentError, "one_hot='yes'"),
    "drop_remainder of text": (batches(drop_remainder="no"), ArgumentError, "drop_remainder='no'"),
    "an unknown scheme": (batches(class_weight="balance"), ArgumentError, "'balance'"),
    "some class weights": (batches(class_weight={0: 1.0}), TailfitError, "1|class_weight"),
    "class weights of a list": (batches(class_weight=[1.0, 2.0, 3.0]), ArgumentError, "class_weight|weights"),
    "a negative class weight": (batches(class_weight={0: -1.0, 1: 1.0, 2: 1.0}), ArgumentError, "-1"),
    "sample weights of others": (batches(sample_weight=[1.0]), TailfitError, "1"),
    "sample weights of NaN": (batches(sample_weight=[1, 1, NAN, 1, 1, 1]), TailfitError, "nan"),
    "sample weights of text": (batches(sample_weight=["a"] * 6), TailfitError, "sample_weight|weights"),
    "class weights of no labels": (
        batches(source=tailfit.data.Arrays(np.zeros((6, 2))), class_weight="balanced"),
        ArgumentError,
        "unlabelled",
    ),
    "a condition without metadata": (batches(sample_weight={"snr < 3": 2.0}), ArgumentError, "snr"),
    "no from_logits": (lambda: losses.Focal(), ArgumentError, "no from_logits"),
    "from_logits of text": (loss("Focal", from_logits="True"), ArgumentError, "from_logits='True'"),
    "gamma below zero": (loss("Focal", gamma=-1), ArgumentError, "gamma=-1"),
    "gamma NaN": (loss("Focal", gamma=NAN), ArgumentError, "gamma=nan"),
    "gamma text": (loss("Focal", gamma="2"), ArgumentError, "gamma='2'"),
    "smoothing beyond one": (loss("CrossEntropy", label_smoothing=2), ArgumentError, "label_smoothing=2"),
    "class weights below zero": (loss("CrossEntropy", class_weights=[-1, 2]), ArgumentError, "class_weights"),
    "class weights of no kind": (loss("CrossEntropy", class_weights=["a"]), ArgumentError, "class_weights"),
    "no counts": (loss("BalancedSoftmax", class_counts=[]), ArgumentError, "class_counts"),
    "counts of zero": (loss("LDAM", class_counts=[0, 0]), ArgumentError, "class_counts"),
    "counts of NaN": (loss("LogitAdjusted", class_counts=[1, NAN]), ArgumentError, "class_counts"),
    "counts of text": (loss("LogitAdjusted", class_counts="12"), ArgumentError, "class_counts"),
    "counts that are a number": (loss("LogitAdjusted", class_counts=3), ArgumentError, "class_counts"),
    "tau of text": (loss("LogitAdjusted", class_counts=[1, 2], tau="1"), ArgumentError, "tau='1'"),
    "bins of none": (lambda: metrics.CalibrationError(bins=0, from_logits=True), ArgumentError, "bins=0"),
    "bins of text": (lambda: metrics.CalibrationError(bins="9", from_logits=True), ArgumentError, "bins='9'"),
    "calibration of what": (lambda: metrics.CalibrationError(), ArgumentError, "from_logits"),
    "no classes": (lambda: metrics.BalancedAccuracy(num_classes=0), ArgumentError, "num_classes=0"),
    "classes of text": (lambda: metrics.BalancedAccuracy(num_classes="3"), ArgumentError, "num_classes='3'"),
    "one sigmoid in a metric": (
        lambda: metrics.BalancedAccuracy(name="mine")([0, 1], [[0.2], [0.9]]),
        ArgumentError,
        r"\(2, 1\) in the metric 'mine': one output",
    ),
    "one sigmoid ranked": (
        lambda: metrics.RocAuc(from_logits=False)([0, 1], [[0.2], [0.9]]),
        ArgumentError,
        "the metric 'roc_auc': one output",
    ),
    "one sigmoid in a loss of classes": (
        lambda: losses.CrossEntropy(from_logits=False)(np.array([0, 1]), np.array([[0.2], [0.9]])),
        ArgumentError,
        "the loss 'cross_entropy': one output",
    ),
    "scores without classes": (
        lambda: metrics.MacroF1()([0, 1], [0.2, 0.9]),
        ArgumentError,
        "the metric 'macro_f1'",
    ),
    "names twice": (lambda: metrics.PerClassRecall(class_names=["a", "a"]), TailfitError, "'a'"),
    "an unknown average": (lambda: metrics.GeometricMean(average="mean"), ArgumentError, "average='mean'"),
    "a temperature of no scores": (
        lambda: posthoc.TemperatureScaling(from_logits=True).fit([[0.0, 1.0]], [7]),
        TailfitError,
        "7",
    ),
    "a run saved never": (lambda: Resume("x", save_freq=0), ArgumentError, "save_freq=0"),
    "a run saved at text": (lambda: Resume("x", save_freq="step"), ArgumentError, "save_freq='step'"),
    "a run saved before it began": (lambda: Resume("x", every_seconds=-1), ArgumentError, "every_seconds=-1"),
    "seconds of text": (lambda: Resume("x", every_seconds="5"), ArgumentError, "every_seconds='5'"),
    "no checkpoint kept": (lambda: Resume("x", keep=0), ArgumentError, "keep=0"),
    "an unknown freedom": (lambda: Resume("x", allow=["all"]), ArgumentError, "'all'"),
    "freedom as a number": (lambda: Resume("x", allow=3), ArgumentError, "allow"),
    "a directory that is none": (lambda: Resume(3), ArgumentError, "directory"),
    "mixing below zero": (lambda: steps.Mixup(alpha=-1), ArgumentError, "alpha=-1"),
    "mixing by text": (lambda: steps.Mixup(alpha="x"), ArgumentError, "alpha='x'"),
    "a radius below zero": (lambda: steps.SAM(rho=-1), ArgumentError, "rho=-1"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_named_and_mended(name):
    call, kind, received = CASES[name]
    with pytest.raises(TailfitError) as caught:
        call()
    error = caught.value
    assert isinstance(error, kind), f"{type(error).__name__}: {error}"
    assert re.search(received, error.received), error
    assert all(len(part) > 2 for part in (error.received, error.expected, error.fix)), error


@pytest.mark.parametrize("refused", [3, "x", [len]], ids=str)
def test_a_function_that_is_none(refused):
    with pytest.raises(ArgumentError, match=re.escape(repr(refused))):
        tailfit.function(refused)


def test_a_step_that_ranks_classes_refuses_one_output_by_its_own_name():
    inputs = keras.Input((2,))
    model = tailfit.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", losses.BinaryFocal(from_logits=True), steps=[steps.SmallLoss(forget_rate=0.2)])
    with pytest.raises(ArgumentError, match=r"the step SmallLoss.*one output"):
        model.fit(np.zeros((4, 2)), np.array([0, 1, 0, 1]), verbose=0)
