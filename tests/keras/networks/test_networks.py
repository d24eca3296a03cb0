"""The published networks: sizes that the authors state, the fixed kernels of LITE, and that they learn."""

import math

import keras
import numpy as np
import pytest

import tailfit
from tailfit.errors import ArgumentError
from tailfit.networks import fcn, image_resnet, inception_time, lite, resnet
from tailfit.networks.series import fixed_kernels
from tailfit.training.generators import seeded

# Trainable parameters of the body for one channel: Ismail-Fawaz et al. 2023 (LITE), which counts all four. That of
# ResNet-20 is the well-known 269,722, with the classifier of ten classes.
PUBLISHED = [
    (fcn, (150, 1), 264_704),
    (resnet, (150, 1), 504_000),
    (inception_time, (150, 1), 420_192),
    (lite, (150, 1), 9_814),
    (image_resnet, (32, 32, 3), 269_722 - 650),
]
SMALL = [
    (fcn, {"filters": [8, 8], "kernel_sizes": [5, 3]}),
    (resnet, {"filters": [4, 8]}),
    (inception_time, {"depth": 3, "width": 4}),
    (lite, {"width": 4}),
]


@pytest.mark.parametrize(("network", "shape", "parameters"), PUBLISHED)
def test_the_number_of_parameters_is_the_published_one(network, shape, parameters):
    model = network(shape, 10)
    body = model.trainable_variables[:-2]  # without the kernel and the bias of the classifier
    assert sum(math.prod(variable.shape) for variable in body) == parameters


def test_the_fixed_kernels_are_those_of_the_paper():
    kernels = {
        tuple(column[np.flatnonzero(column)[0] : np.flatnonzero(column)[-1] + 1]) for column in fixed_kernels().T
    }
    assert len(kernels) == 17
    assert {(-1.0, 1.0), (1.0, -1.0), (-1.0, 1.0, -1.0, 1.0)} < kernels
    # One valley, one peak of twice the height, one valley; each has half the size.
    assert (-1.0, -1.0, 2.0, 2.0, -1.0, -1.0) in kernels
    assert (-0.25, -1, -1, -0.25, 0.5, 2, 2, 0.5, -0.25, -1, -1, -0.25) in kernels


def test_each_fixed_kernel_is_aligned_like_a_convolution_of_its_own_size():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 120, 1)).astype("float32")
    together = keras.ops.conv(x, fixed_kernels()[:, None, :].astype("float32"), padding="same")
    alone = keras.ops.conv(x, np.float32([-1, 1]).reshape(2, 1, 1), padding="same")
    np.testing.assert_allclose(np.array(together)[..., 0], np.array(alone)[..., 0], atol=1e-5)
    hill = np.float32([-1, -1, 2, 2, -1, -1]).reshape(6, 1, 1)
    np.testing.assert_allclose(
        np.array(together)[..., 12], np.array(keras.ops.conv(x, hill, padding="same"))[..., 0], atol=1e-5
    )


def test_lite_sees_all_channels_equally():
    """A change of one channel or of another gives the same response of the fixed kernels."""
    with seeded(0):
        model = lite((40, 3), 2, width=4)
    responses = keras.Model(
        model.input, next(layer for layer in model.layers if layer.name.startswith("activation")).output
    )
    x = np.zeros((3, 40, 3), "float32")
    x[[0, 1, 2], 20, [0, 1, 2]] = 1
    found = np.array(responses.predict(x, verbose=0))
    assert found.shape == (3, 40, 17)
    assert found.any()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize(("network", "options"), SMALL)
def test_it_learns_a_place_in_a_series(network, options):
    rng = np.random.default_rng(0)
    y = np.arange(64) % 2
    x = rng.normal(0, 0.3, (64, 24, 2)).astype("float32")
    x[:, 10:13, 1] += np.where(y, 2.0, -2.0)[:, None]
    with seeded(1):
        model = network((24, 2), 2, **options)
    model.compile(keras.optimizers.Adam(0.01), tailfit.losses.CrossEntropy(from_logits=True))
    history = model.fit(tailfit.Batches(tailfit.data.Arrays(x, y), 16, seed=0), epochs=6, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]


@pytest.mark.parametrize("shape", [(7, 7, 3), (8, 5, 1)])
def test_images_of_odd_size_are_accepted(shape):
    assert image_resnet(shape, 3, blocks=1, width=2)(np.zeros((2, *shape), "float32")).shape == (2, 3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: fcn((5,), 2), r"records of shape \(5,\) for fcn"),
        (lambda: lite((5, 5, 1), 2), "for lite"),
        (lambda: fcn((8, 1), 2, filters=[4], kernel_sizes=[3, 3]), "1 filters.*2 kernel_sizes"),
        (lambda: resnet((8, 1), 2, kernel_sizes=[]), "an empty kernel_sizes"),
        (lambda: inception_time((8, 1), 2, kernel_size=3), "kernel_size=3"),
        (lambda: inception_time((8, 1), 2, depth=0), "depth=0"),
        (lambda: image_resnet((3, 9, 1), 2), "records of shape"),
        (lambda: image_resnet((8, 8, 1), 2, blocks=0), "blocks=0"),
    ],
)
def test_bad_options_are_named(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()
