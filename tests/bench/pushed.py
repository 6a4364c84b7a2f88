"""What a push uploads again after records were added: python -m tests.bench.pushed --input DUMP

Builds records of a ShareGPT dump in shards of about `--shard` MiB, publishes them on a Hub on
loopback, adds some records at the end of the file, builds again and publishes a minor version.
Prints for each table the files that were uploaded, and the share of their bytes that a
content-defined chunker of 64 KiB has not seen before.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from chatdata.dataset import shards
from chatdata.pipeline import prepare
from tests.bench.cache import records
from tests.bench.new_bytes import new_share
from tests.support.loopback import serve

RECIPE = """
name: pushed
version: {version}
source: {{sharegpt: {{}}}}
threads: {{start: user, end: assistant}}
drop: [empty, not_alternating, too_few_turns, duplicate]
split: {{test_percent: 5}}
render: {{tokenizer: bytes, template: chatml, max_tokens: 4096, overflow: cut}}
max_dropped: 1.0
publish: {{license: mit}}
"""
REPO, TOKEN = "ada/pushed", "hf_adaMayWrite"


def build(work: Path, version: str, rows: Sequence[Any]) -> Path:
    """The folder of a version of the dataset."""
    from chatdata import build_dataset

    home = work / version
    home.mkdir()
    (home / "dump.json").write_text(json.dumps(rows))
    (home / "r.yaml").write_text(RECIPE.format(version=version))
    inputs = [str(home / "dump.json")]
    build_dataset(home / "r.yaml", home / "out", inputs=inputs, cache=False)
    return home / "out"


def figures(before: Path, after: Path) -> Iterator[str]:
    """Yields a line for each folder of files that are published, and for what stands beside."""
    homes = sorted({path.parent for path in after.rglob("*") if path.is_file()})
    for home in homes:
        name = home.relative_to(after).as_posix()
        if name.startswith("dropped"):  # is never published
            continue
        files = sorted(path for path in home.iterdir() if path.is_file())
        old = [path for path in (before / name).glob("*") if path.is_file()]
        known = {path.read_bytes() for path in old}
        new = [path for path in files if path.read_bytes() not in known]
        total, size = (sum(path.stat().st_size for path in some) for some in (files, new))
        share = new_share(old, new) * size / total if size else 0.0
        yield (
            f"| {'beside' if name == '.' else name} | {len(files)} | {total / 1e6:.2f} "
            f"| {len(new)} | {size / 1e6:.2f} ({size / total:.0%}) | {share:.0%} |"
        )


@click.command()
@click.option("--input", "path", type=click.Path(path_type=Path), required=True)
@click.option("--records", "number", default=2000, show_default=True)
@click.option("--added", multiple=True, type=int, default=[10], show_default=True)
@click.option("--shard", default=1.0, show_default=True, help="MiB of a shard in memory.")
def main(path: Path, number: int, added: tuple[int, ...], shard: float) -> None:
    """Prints what is uploaded again."""
    prepare.PART_BYTES = 4 * 2**20
    shards.SHARD_BYTES = int(shard * 2**20)
    with tempfile.TemporaryDirectory() as name, serve(Path(name) / "hub") as hub:
        work = Path(name)
        hub.store.add_user("ada", token=TOKEN)
        os.environ |= {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": str(work / "h")}
        from chatdata import push_dataset

        drawn = records(path, number + max(added))
        before = build(work, "1.0.0", drawn[:number])
        push_dataset(before, REPO, "1.0.0")
        repository = hub.store.repository("dataset", REPO)
        click.echo("| folder | files | MB | changed | MB | new in chunks |")
        for minor, more in enumerate(added, start=1):
            version = f"1.{minor}.0"
            after = build(work, version, drawn[: number + more])
            known = set(repository.objects)
            push_dataset(after, REPO, version, allow_version=True)
            sent = repository.objects - known
            size = sum(hub.store.path(digest).stat().st_size for digest in sent)
            click.echo(f"{more} records more: {len(sent)} files, {size / 1e6:.2f} MB uploaded")
            click.echo("\n".join(figures(before, after)))


if __name__ == "__main__":
    main()
