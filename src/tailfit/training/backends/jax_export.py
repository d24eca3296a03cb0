"""JAX: conversion of a model to ONNX, by jax2onnx."""

from typing import Any

import jax
import numpy as np

from tailfit.extras import needed

__all__ = ["to_onnx"]


def to_onnx(model: Any, path: str) -> None:
    """Write a functional model of one input as ONNX, with any number of records.

    Raises:
        PackageError: If jax2onnx is not installed.
    """
    converter = needed("jax2onnx", "onnx-jax", "the export of a JAX model to ONNX")
    records = jax.ShapeDtypeStruct(("batch", *model.input_shape[1:]), np.float32)  # type: ignore[no-untyped-call]
    converter.to_onnx(
        lambda records: model(records, training=False),
        inputs=[records],
        input_names=["records"],
        output_names=["scores"],
        return_mode="file",
        output_path=path,
    )
