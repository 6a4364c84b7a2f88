"""`croissant.json`: the description of a dataset for machines, in Croissant 1.1 of MLCommons.

Files have relative paths and hashes, so that the description holds for a folder and for a
repository.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from chatdata.dataset import hub_configs, limitations
from chatdata.dataset.hub_configs import Config
from chatdata.dataset.manifest import Manifest

FILE = "croissant.json"
_PARQUET = "application/x-parquet"
_PREFIXES = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
_WORDS = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty "
    "fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet "
    "references regex repeated replace samplingRate separator source subField transform"
)
_CONTEXT = {
    **_PREFIXES,
    **{word: f"cr:{word}" for word in _WORDS.split()},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
}
_TYPES = {
    pa.string(): "sc:Text",
    pa.bool_(): "sc:Boolean",
    pa.int32(): "cr:Int32",
    pa.int64(): "cr:Int64",
    pa.float32(): "cr:Float32",
    pa.float64(): "cr:Float64",
}


def text(manifest: Manifest) -> str:
    """The text of the file."""
    return json.dumps(_description(manifest), indent=2, ensure_ascii=False) + "\n"


def hashes(text: str) -> dict[str, str]:
    """The SHA-256 of each file that a description names.

    Raises ValueError for a text that is not a description.
    """
    try:
        files = json.loads(text)["distribution"]
        return {file["contentUrl"]: file["sha256"] for file in files if "sha256" in file}
    except (KeyError, TypeError) as error:
        raise ValueError(f"no description of a dataset ({error})") from None


def _description(manifest: Manifest) -> dict[str, Any]:
    configs = hub_configs.of(manifest)
    repo = manifest.recipe.repo
    values = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.about or f"Conversations, built as {manifest.name}.",
        "license": manifest.license,
        "url": f"https://huggingface.co/datasets/{repo}" if repo else None,
        "citeAs": f"{manifest.name} {manifest.version}, {manifest.content_hash}",
        "inLanguage": [lang for lang in manifest.languages if lang != "unknown"],
        "keywords": ["conversational", "fine-tuning"],
        "rai:dataLimitation": limitations.limits(manifest),
        "distribution": [*_files(manifest, configs), *map(_file_set, configs)],
        "recordSet": [_splits(manifest), *map(_records, configs)],
    }
    return {key: value for key, value in values.items() if value}


def _files(manifest: Manifest, configs: list[Config]) -> Iterator[dict[str, Any]]:
    for path, sha256 in shards(manifest, configs).items():
        yield {
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "contentUrl": path,
            "encodingFormat": _PARQUET,
            "sha256": sha256,
        }


def shards(manifest: Manifest, configs: list[Config]) -> dict[str, str]:
    """The SHA-256 of each shard of some configs."""
    shards = [shard for config in configs for shard in config.table.shards(manifest.files)]
    return {shard.path: shard.sha256 for shard in shards}


def _file_set(config: Config) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{config.name}-files",
        "name": f"{config.name}-files",
        "description": f"The shards of {config.name}.",
        "encodingFormat": _PARQUET,
        "includes": [config.table.pattern(split) for split in config.rows],
    }


def _splits(manifest: Manifest) -> dict[str, Any]:
    names = [name for name, split in manifest.splits.items() if split.rows]
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits of the dataset.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"}
        ],
        "data": [{"splits/name": name} for name in names],
    }


def _records(config: Config) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": config.name,
        "name": config.name,
        "description": f"The rows of {config.name}: {config.table.row}.",
        "key": {"@id": f"{config.name}/id"},
        "field": [_split(config), *(_field(config, column) for column in config.schema)],
    }


def _split(config: Config) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{config.name}/split",
        "name": "split",
        "dataType": "sc:Text",
        "source": {
            "fileSet": {"@id": f"{config.name}-files"},
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": f"(?:{config.table.name}/)?({'|'.join(config.rows)})(?:-.+)?$"},
        },
        "references": {"field": {"@id": "splits/name"}},
    }


def _field(config: Config, column: pa.Field) -> dict[str, Any]:
    field = {"@type": "cr:Field", "@id": f"{config.name}/{column.name}", "name": column.name}
    source = _source(config, column.name)
    inner = column.type.value_type if pa.types.is_list(column.type) else None
    if inner is None or not pa.types.is_struct(inner):
        return {**field, **_value(column.type), "source": source}
    parts = [
        {
            "@type": "cr:Field",
            "@id": f"{field['@id']}/{part.name}",
            "name": part.name,
            **_value(part.type),
            "source": {**source, "transform": {"jsonPath": part.name}},
        }
        for part in inner
    ]
    return {**field, **_ARRAY, "subField": parts}


_ARRAY = {"isArray": True, "arrayShape": "-1"}


def _value(kind: pa.DataType) -> dict[str, Any]:
    """The type of a value, or of a list of values."""
    if pa.types.is_list(kind):
        return {"dataType": _TYPES[kind.value_type], **_ARRAY}
    return {"dataType": _TYPES[kind]}


def _source(config: Config, column: str) -> dict[str, Any]:
    return {"fileSet": {"@id": f"{config.name}-files"}, "extract": {"column": column}}
