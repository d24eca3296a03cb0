"""Changes of the default training step, one family a file; offered as `tailfit.steps`."""

__all__ = ()
