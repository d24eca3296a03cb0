"""Callbacks that log runs to TensorBoard and MLflow, and go on in the same log when a run is resumed."""

from tailfit.tracking.mlflow import MLflow
from tailfit.tracking.tensorboard import TensorBoard

__all__ = ["MLflow", "TensorBoard"]
