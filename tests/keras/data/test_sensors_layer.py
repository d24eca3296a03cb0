"""`Normalize` as a layer of a model."""

import keras
import numpy as np

from tailfit.data import Arrays, Normalize


def test_the_layer_is_equivalent_and_saved(tmp_path):
    x = np.random.default_rng(0).normal([5.0, -3.0, 2.0], [2.0, 0.1, 0.0], (40, 6, 3)).astype("float32")
    normalize = Normalize.fit(Arrays(x))
    inputs = keras.Input((6, 3))
    model = keras.Model(inputs, normalize.layer()(inputs))
    np.testing.assert_allclose(model.predict(x, verbose=0), normalize(x), rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), normalize(x), rtol=1e-4, atol=1e-5)
