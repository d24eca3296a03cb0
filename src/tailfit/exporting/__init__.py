"""Export of finished runs: one file that takes raw records, needs no tailfit, and is checked before it is written.

formats.py     names of the formats, the packages that they need, and the backend that writes each
filling.py     filling of missing readings, as operations of Keras
network.py     network, normalisation, filling and correction as one plain Keras model
process.py     the process that writes a file and computes scores with it; converting.py is its work
exports.py     `export`: records to check with, the process, comparison of the scores, and the final file
"""

from typing import TYPE_CHECKING

from tailfit.lazy import lazy_attributes

if TYPE_CHECKING:
    from tailfit.exporting.exports import Exported, export

__all__ = ["Exported", "export"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {"Exported": "tailfit.exporting.exports", "export": "tailfit.exporting.exports"},
)
