"""A stand-in for a source, with the attributes that weights need."""

from types import SimpleNamespace

from tailfit.labels import encode


def source(y, class_names=None, metadata=None):
    """Return an object with labels, class names and metadata."""
    encoded = encode(y, class_names=class_names)
    return SimpleNamespace(labels=encoded.values, class_names=encoded.class_names, encoded=encoded, metadata=metadata)
