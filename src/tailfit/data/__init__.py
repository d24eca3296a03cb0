"""Sources of samples, their split into parts, and `Batches`.

A `Source` has IDs, labels, class names and metadata, and reads a whole batch of records in one call. `split` divides it
into parts that share its storage. `Batches` combines a source, a sampler and weights into a data set for `fit`. Sources
need only NumPy and polars; Keras is imported on the first use of `Batches`.
"""

from typing import TYPE_CHECKING

from tailfit.data.changes.padding import Pad
from tailfit.data.changes.sensors import FillMissing, Normalize
from tailfit.data.folding import folds
from tailfit.data.inspecting import Inspection, inspect
from tailfit.data.opening import open
from tailfit.data.records.finite import DataWarning
from tailfit.data.records.ragged import Ragged
from tailfit.data.source import Source, Subset, split
from tailfit.data.sources.arrays import Arrays
from tailfit.data.sources.concat import Concat, Mapped
from tailfit.data.sources.hdf5 import HDF5
from tailfit.data.sources.image_folder import ImageFolder
from tailfit.data.sources.map_style import MapStyle
from tailfit.data.sources.npy_folder import NpyFolder
from tailfit.data.sources.npz import Npz
from tailfit.data.sources.packed import Packed
from tailfit.data.sources.parquet import Parquet
from tailfit.data.sources.recordings import Recordings
from tailfit.data.sources.records import ArrayRecord, TFRecord
from tailfit.data.sources.table import HuggingFace, Table
from tailfit.data.sources.windows import Windows
from tailfit.data.sources.zarr_store import Zarr
from tailfit.data.writing.npy_folder import save_npy_folder
from tailfit.data.writing.packing import pack
from tailfit.lazy import lazy_attributes

if TYPE_CHECKING:
    from tailfit.data.feeding.batches import Batches
    from tailfit.data.feeding.interop import to_grain, to_tf_dataset, to_torch

__all__ = [
    "HDF5",
    "ArrayRecord",
    "Arrays",
    "Batches",
    "Concat",
    "DataWarning",
    "FillMissing",
    "HuggingFace",
    "ImageFolder",
    "Inspection",
    "MapStyle",
    "Mapped",
    "Normalize",
    "NpyFolder",
    "Npz",
    "Packed",
    "Pad",
    "Parquet",
    "Ragged",
    "Recordings",
    "Source",
    "Subset",
    "TFRecord",
    "Table",
    "Windows",
    "Zarr",
    "folds",
    "inspect",
    "open",
    "pack",
    "save_npy_folder",
    "split",
    "to_grain",
    "to_tf_dataset",
    "to_torch",
]

# These need Keras.
__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Batches": "tailfit.data.feeding.batches",
        "to_grain": "tailfit.data.feeding.interop",
        "to_tf_dataset": "tailfit.data.feeding.interop",
        "to_torch": "tailfit.data.feeding.interop",
    },
)
