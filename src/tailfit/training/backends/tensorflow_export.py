"""TensorFlow: conversion of a model to a SavedModel, and to ONNX by tf2onnx."""

from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tailfit.extras import needed

__all__ = ["run_saved_model", "to_onnx", "to_saved_model"]


def to_saved_model(model: Any, path: str) -> None:
    """Write a functional model of one input as a SavedModel with the signature `serving_default`."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve", lambda records: {"scores": model(records, training=False)}, input_signature=[_signature(model)]
    )
    archive.write_out(path, verbose=False)


def run_saved_model(path: str, records: Any) -> Any:
    """Compute the scores of records with a SavedModel."""
    serve = tf.saved_model.load(path).signatures["serving_default"]
    return serve(records=tf.constant(records))["scores"].numpy()


def to_onnx(model: Any, path: str) -> None:
    """Write a functional model of one input as ONNX, with any number of records.

    Raises:
        PackageError: If tf2onnx is not installed.
    """
    converter = needed("tf2onnx", "onnx", "the export of a TensorFlow model to ONNX").convert
    traced = tf.function(lambda records: model(records, training=False), input_signature=[_signature(model)])
    traced = traced.get_concrete_function()
    frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False)
    graph = frozen.graph.as_graph_def()
    # Constants that layers made before the trace, such as the statistics of `Normalization`, are inputs of the frozen
    # graph: turn them into constants.
    captured = {inner.op.name: outer for outer, inner in traced.graph.captures if outer.dtype != tf.resource}
    for node in graph.node:
        if node.op == "Placeholder" and node.name in captured:
            value = captured[node.name].numpy()
            node.op = "Const"
            node.ClearField("attr")
            node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    converter.from_graph_def(
        graph, input_names=[frozen.inputs[0].name], output_names=[frozen.outputs[0].name], output_path=path
    )


def _signature(model: Any) -> Any:
    return tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="records")
