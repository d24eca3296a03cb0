"""Where the samples are: sources (IDs to arrays), their split into parts, and `Batches`.

A `Source` knows its IDs, labels, class names and metadata, and reads a whole batch in one call. `split`
divides one into parts that share its storage. `Batches` joins a source, a sampler and weights into what
`fit` takes. Sources need NumPy and polars only: Keras is imported with `Batches`, on first use.
"""

from typing import TYPE_CHECKING

from tailfit.data.arrays import Arrays
from tailfit.data.concat import Concat, Mapped
from tailfit.data.finite import DataWarning
from tailfit.data.hdf5 import HDF5
from tailfit.data.image_folder import ImageFolder
from tailfit.data.inspection import Inspection, inspect
from tailfit.data.layout import save_npy_folder
from tailfit.data.map_style import MapStyle
from tailfit.data.npy_folder import NpyFolder
from tailfit.data.opening import open
from tailfit.data.pack import pack
from tailfit.data.packed import Packed
from tailfit.data.padding import Pad
from tailfit.data.parquet import Parquet
from tailfit.data.ragged import Ragged
from tailfit.data.records import ArrayRecord, TFRecord
from tailfit.data.sensors import FillMissing, Normalize
from tailfit.data.source import Source, Subset
from tailfit.data.split import split
from tailfit.data.table import HuggingFace, Table
from tailfit.data.windows import Windows
from tailfit.data.zarr_store import Zarr
from tailfit.lazy import lazy_attributes

if TYPE_CHECKING:
    from tailfit.data.batches import Batches
    from tailfit.data.interop import to_grain, to_tf_dataset, to_torch

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
    "Packed",
    "Pad",
    "Parquet",
    "Ragged",
    "Source",
    "Subset",
    "TFRecord",
    "Table",
    "Windows",
    "Zarr",
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
        "Batches": "tailfit.data.batches",
        "to_grain": "tailfit.data.interop",
        "to_tf_dataset": "tailfit.data.interop",
        "to_torch": "tailfit.data.interop",
    },
)
