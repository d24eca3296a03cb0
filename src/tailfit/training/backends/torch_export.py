"""torch: conversion of a model to a program of `torch.export`, and from that to ONNX by torch and onnxscript."""

import logging
import warnings
from typing import Any

import torch

from tailfit.extras import needed

__all__ = ["run_program", "to_onnx", "to_program"]


class _Inference(torch.nn.Module):
    """The forward pass of a Keras model without its training behaviour."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, records: Any) -> Any:
        return self.model(records, training=False)


def to_program(model: Any, path: str, files: dict[str, str]) -> None:
    """Write a model as a `.pt2` file, which `torch.export.load` reads without Keras.

    Args:
        model: A functional model of one input.
        path: Path of the file.
        files: Texts that are stored in the file, by name; see `extra_files` of `torch.export.save`.
    """
    torch.export.save(_program(model), path, extra_files=files)


def run_program(path: str, records: Any) -> Any:
    """Compute the scores of records with a `.pt2` file."""
    with torch.no_grad():
        return torch.export.load(path).module()(torch.from_numpy(records)).numpy()


def to_onnx(model: Any, path: str) -> None:
    """Write a functional model of one input as ONNX, with any number of records.

    Raises:
        PackageError: If onnxscript is not installed.
    """
    needed("onnxscript", "onnx", "the export of a torch model to ONNX")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is not installed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written: Any = torch.onnx.export(
            _program(model), dynamo=True, input_names=["records"], output_names=["scores"], verbose=False
        )
        written.save(path)


def _program(model: Any) -> Any:
    # Of two records: a batch of one would be specialised to that size.
    example = torch.zeros((2, *model.input_shape[1:]))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensors that Keras makes while it is traced
        return torch.export.export(
            _Inference(model).train(False),
            (example,),
            dynamic_shapes={"records": {0: torch.export.Dim("batch")}},
            strict=False,
        )
