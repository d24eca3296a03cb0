"""The doctor: which known traps a plain Keras set-up steps into, from a live model or from a script."""

from typing import TYPE_CHECKING

from tailfit.lazy import lazy_attributes

if TYPE_CHECKING:
    from tailfit.diagnosis.examining import doctor
    from tailfit.diagnosis.finding import Finding

__all__ = ["Finding", "doctor"]

# Imported on first use: a script that the doctor runs may still choose the backend, so Keras must not be imported.
__getattr__, __dir__ = lazy_attributes(
    __name__, {"Finding": "tailfit.diagnosis.finding", "doctor": "tailfit.diagnosis.examining"}
)
del lazy_attributes
