"""What weights need of a source."""

from types import SimpleNamespace

from tailfit.labels import encode


def source(y, class_names=None, metadata=None):
    """What a source looks like from here."""
    encoded = encode(y, class_names=class_names)
    return SimpleNamespace(labels=encoded.values, class_names=encoded.class_names, encoded=encoded, metadata=metadata)
