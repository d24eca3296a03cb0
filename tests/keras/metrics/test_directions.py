"""Callbacks in mode "auto" use the right direction (higher or lower is better) for every metric."""

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


def test_callbacks_use_the_direction_of_each_metric(tmp_path):
    # Callbacks compare single numbers; PerClassRecall and GroupRecall return several.
    single = [name for name in metrics.__all__ if name not in ("GroupRecall", "PerClassRecall")]
    given = {name: made(name) for name in single}
    listeners = {name: callbacks(f"val_{metric.name}", tmp_path) for name, metric in given.items()}
    fitted(list(given.values()), [each for several in listeners.values() for each in several])
    for name, several in listeners.items():
        want = keras.ops.less if name in LESS_IS_BETTER else keras.ops.greater
        assert [each.monitor_op for each in several] == [want] * 3, name


def test_the_direction_does_not_depend_on_the_name(tmp_path):
    listeners = callbacks("val_mine", tmp_path)
    fitted([made("MacroF1", name="mine")], listeners)
    assert {each.monitor_op for each in listeners} == {keras.ops.greater}


@pytest.mark.parametrize(("name", "entry"), [("GroupRecall", "group_recall/few"), ("PerClassRecall", "recall/leak")])
def test_entries_of_several_values_need_an_explicit_mode(name, entry, tmp_path):
    """Keras finds compiled metrics by name; an entry of a dict, or a metric of one of several outputs, has a
    different name in the logs."""
    options = {"class_names": ["ok", "leak"]} if name == "PerClassRecall" else {}
    for listener in callbacks(f"val_{entry}", tmp_path):
        with pytest.raises(ValueError, match="mode='max'"):
            fitted([made(name, **options)], [listener])
    fitted([made(name, **options)], callbacks(f"val_{entry}", tmp_path, mode="max"))
