"""Keras' progress bar with another interval between two drawings."""

from functools import partial

from keras.src.callbacks import progbar_logger
from keras.src.utils.progbar import Progbar

__all__ = ["draw_every"]


def draw_every(monkeypatch, seconds):
    """Let new progress bars draw this often, at most after each step."""
    monkeypatch.setattr(progbar_logger, "Progbar", partial(Progbar, interval=seconds))
