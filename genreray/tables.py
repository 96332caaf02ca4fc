"""The contract between the stages: schemas of CATALOG, FEATURES, PREDICTIONS, and settings kept in them."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from genreray.errors import UserError

SPLITS = ("training", "validation", "test")

CATALOG = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("genre", pa.string()),
        pa.field("genres", pa.list_(pa.string())),
        pa.field("artist", pa.string()),
        pa.field("split", pa.string()),
    ]
)

_OUTCOME = [pa.field("status", pa.string(), nullable=False), pa.field("error", pa.string())]

_CLIP = [
    pa.field("duration", pa.float64()),  # seconds decoded
    pa.field("n_frames", pa.int32()),
    pa.field("mel", pa.binary()),  # uint8, C order, [n_mels, n_frames]
    pa.field("mel_ref", pa.float32()),  # dB of the grey value 255
    pa.field("mfcc", pa.binary()),  # float16, C order, [n_mfcc, n_frames]
]

FEATURES = pa.schema([*CATALOG, *_OUTCOME, *_CLIP])

# FEATURES with several clips of each track, which `tag --coverage` hands on and nothing stores.
CLIPS = pa.field("clips", pa.list_(pa.struct([pa.field("start", pa.float64()), *_CLIP])))  # start: s into the track
FEATURES_OF_CLIPS = pa.schema([*CATALOG, *_OUTCOME, CLIPS])

_RANKED = pa.list_(pa.struct([pa.field("genre", pa.string()), pa.field("probability", pa.float32())]))

PREDICTIONS = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        *_OUTCOME,
        pa.field("genre", pa.string()),
        pa.field("subgenre", pa.string()),
        pa.field("confidence", pa.float32()),
        pa.field("genres", _RANKED),
        pa.field("true_genre", pa.string()),
    ]
)

EMBEDDING = pa.field("embedding", pa.list_(pa.float32()))  # what the last layer sees, the mean over crops
# What models of several genres a track are scored from: all probabilities, best first, and all genres of the track.
TO_SCORE = (pa.field("probabilities", _RANKED), pa.field("true_genres", pa.list_(pa.string())))
# The file on disk as it was before it was read: bytes, and ns since 1970.
FILE_STAMP = (pa.field("file_size", pa.int64()), pa.field("file_modified", pa.int64()))
N_CLIPS = pa.field("n_clips", pa.int32())  # over which a track's probabilities are averaged


def predictions(embedding: bool, to_score: bool = False, of_files: bool = False) -> pa.Schema:
    """Return PREDICTIONS, with TO_SCORE, EMBEDDING and (of files) N_CLIPS and FILE_STAMP where they are asked for."""
    files = [N_CLIPS, *FILE_STAMP] if of_files else []
    return pa.schema([*PREDICTIONS, *(TO_SCORE if to_score else ()), *([EMBEDDING] if embedding else ()), *files])


def check_plain(schema: pa.Schema, where: str) -> None:
    """Raise UserError where a column is of a type that Python code defines: Ray registers one that unpickles values.

    `where` names the file in the error. Tables that come from strangers are read only after this.
    """
    for field in schema:
        if _is_of_python(field.type):
            raise UserError(
                f"{where} has a column {field.name!r} of the type {field.type}, which may run code when it is read: "
                "give a table of plain types"
            )


def _is_of_python(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.ExtensionType):
        return True
    if isinstance(kind, pa.BaseExtensionType):  # Arrow's own, such as arrow.uuid
        return _is_of_python(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _is_of_python(kind.value_type)
    return any(_is_of_python(kind.field(i).type) for i in range(kind.num_fields))


_METADATA_KEY = b"genreray"


def with_metadata(schema: pa.Schema, metadata: Mapping[str, Any]) -> pa.Schema:
    """Return `schema` carrying `metadata` as JSON, beside what other metadata it has."""
    others = {k: v for k, v in (schema.metadata or {}).items() if k != _METADATA_KEY}
    return schema.with_metadata({**others, _METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()})


def metadata_of(schema: pa.Schema, where: str) -> dict[str, Any]:
    """Return what `with_metadata` stored in `schema`; `where` names the file in the error.

    Raises UserError where there is none: the file was made by something else.
    """
    raw = (schema.metadata or {}).get(_METADATA_KEY)
    try:
        value = json.loads(raw) if raw is not None else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UserError(
            f"{where} is Parquet, but was not made by genreray: give a folder that `genreray extract` wrote"
        )
    return value


def difference(key: str, one: Any, other: Any) -> str:
    """Say how two values of the setting `key` differ: by the first field that does, where they are groups of them."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            if one.get(name) != other.get(name):
                return difference(name, one.get(name), other.get(name))
    # Else too long to be written out:
    if isinstance(one, dict) or isinstance(other, dict):
        return f"{key} {'are' if one else 'are not'} given there"
    if isinstance(one, list) and isinstance(other, list) and len(one) != len(other):
        return f"{len(one)} {key}, not {len(other)}"
    return f"{key} {one}, not {other}"
