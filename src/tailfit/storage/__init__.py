"""Reading, parsing and atomic writing of files, for all packages."""

from tailfit.storage.json_text import MOST_JSON, fields_of, parsed, read_json, read_object
from tailfit.storage.reading import digest_of, open_regular, read_text, read_whole
from tailfit.storage.writing import Draft, write_parts, write_text

__all__ = [
    "MOST_JSON",
    "Draft",
    "digest_of",
    "fields_of",
    "open_regular",
    "parsed",
    "read_json",
    "read_object",
    "read_text",
    "read_whole",
    "write_parts",
    "write_text",
]
