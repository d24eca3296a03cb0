"""Callbacks in their default mode know whether more or less of a metric is better, for every metric there is."""

import inspect

import keras
import numpy as np
import pytest

import tailfit
from tailfit import metrics

LESS_IS_BETTER = {"CalibrationError"}
GIVEN = {"from_logits": True, "class_counts": [500, 5]}
X, Y = np.eye(4, dtype="float32"), np.array([0, 1, 0, 1])


def made(name, /, **kwargs):
    kind = getattr(metrics, name)
    needed = {key: value for key, value in GIVEN.items() if key in inspect.signature(kind.__init__).parameters}
    return kind(**needed, **kwargs)


def callbacks(monitor, directory, **kwargs):
    return [
        keras.callbacks.EarlyStopping(monitor, **kwargs),
        keras.callbacks.ReduceLROnPlateau(monitor, **kwargs),
        keras.callbacks.ModelCheckpoint(directory / "best.weights.h5", monitor, save_best_only=True,
                                        save_weights_only=True, **kwargs),
    ]  # fmt: skip


def fitted(given, listeners):
    inputs = keras.Input((4,))
    model = tailfit.Model(inputs, keras.layers.Dense(2, name="cause")(inputs))
    model.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True), metrics=given)
    return model.fit(X, Y, validation_data=(X, Y), verbose=0, callbacks=listeners).history


def test_each_metric_is_waited_for_in_its_direction(tmp_path):
    # A callback compares numbers: what PerClassRecall and GroupRecall return are several.
    single = [name for name in metrics.__all__ if name not in ("GroupRecall", "PerClassRecall")]
    given = {name: made(name) for name in single}
    listeners = {name: callbacks(f"val_{metric.name}", tmp_path) for name, metric in given.items()}
    fitted(list(given.values()), [each for several in listeners.values() for each in several])
    for name, several in listeners.items():
        want = keras.ops.less if name in LESS_IS_BETTER else keras.ops.greater
        assert [each.monitor_op for each in several] == [want] * 3, name


def test_a_metric_of_another_name_is_known_too(tmp_path):
    listeners = callbacks("val_mine", tmp_path)
    fitted([made("MacroF1", name="mine")], listeners)
    assert {each.monitor_op for each in listeners} == {keras.ops.greater}


@pytest.mark.parametrize(("name", "entry"), [("GroupRecall", "group_recall/few"), ("PerClassRecall", "recall/leak")])
def test_an_entry_of_several_is_told_its_mode_as_keras_own_are(name, entry, tmp_path):
    """Keras knows compiled metrics by their name only: an entry of a dict, or the metric of one of several outputs, has
    another one in the logs."""
    told = {"class_names": ["ok", "leak"]} if name == "PerClassRecall" else {}
    for listener in callbacks(f"val_{entry}", tmp_path):
        with pytest.raises(ValueError, match="mode='max'"):
            fitted([made(name, **told)], [listener])
    fitted([made(name, **told)], callbacks(f"val_{entry}", tmp_path, mode="max"))
