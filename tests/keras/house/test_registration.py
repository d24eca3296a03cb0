"""Saved models load in a new process after `import tailfit` and `import keras`, in either order."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tailfit
from tailfit.registration import CLASSES


def run(code, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def registered():
    """Return every class in the package that registers itself."""
    package = Path(tailfit.__path__[0])
    for path in sorted(package.rglob("*.py")):
        name = ".".join(["tailfit", *path.relative_to(package).with_suffix("").parts]).removesuffix(".__init__")
        if ".backends." not in name:  # only one backend can be imported
            importlib.import_module(name)
    known = keras.saving.get_custom_objects()
    return {name: kind for name, kind in known.items() if name.startswith(("tailfit>", "tailfit.schedules>"))}


def test_every_registered_class_has_a_stand_in():
    found = registered()
    assert found.keys() == CLASSES.keys()
    for name, module in CLASSES.items():
        assert getattr(importlib.import_module(module), name.rpartition(">")[2]) is found[name]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved model with one class of each kind: model, layer, loss, metric, step, schedule, correction."""
    inputs = keras.Input((3,))
    scores = tailfit.layers.CosineDense(2)(keras.layers.Dense(4)(inputs))
    corrected = tailfit.posthoc.layers.AffineScores([1.0, 2.0], [0.0, 1.0], from_logits=True)(scores)
    model = tailfit.Model(inputs, corrected)
    gamma = tailfit.schedules.Linear(0.0, 1.0, epochs=3)
    model.compile(
        "sgd",
        tailfit.losses.Focal(gamma=gamma, from_logits=True),
        metrics=[tailfit.metrics.BalancedAccuracy(num_classes=2)],
        steps=[tailfit.steps.Mixup(alpha=0.2)],
    )
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    model.fit(x, np.arange(8) % 2, verbose=0)
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    np.savez(path.with_suffix(".npz"), x=x, y=model.predict(x, verbose=0))
    return path


LOAD = """
import json, sys
{imports}
early = sorted(name for name in sys.modules if name.startswith("tailfit.") and "keras" in sys.modules)
import numpy as np
model = keras.saving.load_model(sys.argv[1])
data = np.load(sys.argv[1].replace(".keras", ".npz"))
np.testing.assert_allclose(model.predict(data["x"], verbose=0), data["y"], atol=1e-6)
assert type(model.loss).__name__ == "Focal", model.loss
assert any("tailfit.registration" in type(each).__module__ for each in sys.meta_path) is False
saving = sys.modules["keras.saving"]
assert type(saving.__loader__).__module__ != "tailfit.registration"
assert type(saving.__spec__.loader).__module__ != "tailfit.registration"
from tailfit.registration import CLASSES
for name in CLASSES:  # a stand-in forwards to the class, and is replaced by it
    assert callable(keras.saving.get_registered_object(name).from_config), name
    if not name.startswith("tailfit.schedules"):
        assert keras.saving.get_registered_object(name).__name__ == name.rpartition(">")[2], name
    assert callable(keras.saving.get_registered_object(name).get_config), name
print(json.dumps(early))
"""


@pytest.mark.parametrize("imports", ["import keras, tailfit", "import tailfit, keras"])
def test_a_saved_model_loads_in_either_order_of_imports(imports, saved):
    early = json.loads(run(LOAD.format(imports=imports), saved).splitlines()[-1])
    assert early == ["tailfit.lazy", "tailfit.registration"]  # no other module is imported
