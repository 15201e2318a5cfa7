#!/usr/bin/env python3
"""Turns a Debian Packages index into the Parquet files of this example.

    ./extract.py                    # the index apt already downloaded for this machine's release
    ./extract.py Packages.xz        # a file: plain, .xz, .gz, .lz4 or .zst
    ./extract.py --output DIR ...   # write somewhere else than beside this script

Writes packages.parquet (nodes), depends.parquet and recommends.parquet (edges). The same index always gives the same
files, row for row. Rules that shape the graph:

- One node per package name; where the index lists several versions, the newest one.
- One edge per pair (from, to). Each alternative of `a | b` is an edge; what is said twice about one pair is merged.
- A virtual package is replaced by the real packages that provide it, without the constraint on the virtual name.
- Edges to names that no package of the index carries or provides are dropped, and counted.
"""

import argparse
import lzma
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Stanza = dict[str, str]
Edges = dict[tuple[str, str], list[str]]

PACKAGES = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("version", pa.string()),
        pa.field("section", pa.string()),
        pa.field("installed_size", pa.int64()),  # KiB
        pa.field("description", pa.string()),
    ]
)
EDGES = pa.schema(
    [
        pa.field("from", pa.string(), nullable=False),
        pa.field("to", pa.string(), nullable=False),
        pa.field("constraint", pa.string()),
    ]
)
# `libc6:any (>= 2.34) [amd64] <!nocheck>`: name, then the version relation, if any.
RELATION = re.compile(
    r"^\s*(?P<name>[a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?\s*"
    r"(?:\(\s*(?P<operator><<|<=|=|>=|>>)\s*(?P<version>[^\s)]+)\s*\))?"
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("index", nargs="?", type=Path, help="a Packages index; default: the one apt has")
    beside = Path(__file__).resolve().parent
    arguments.add_argument("--output", type=Path, default=beside, help="default: beside this script")
    options = arguments.parse_args()

    index = options.index or index_of_this_machine()
    packages = newest_by_name(stanzas(read_text(index)))
    providers = providers_of(packages.values())
    options.output.mkdir(parents=True, exist_ok=True)
    print(f"{index}: {len(packages)} packages, {len(providers)} virtual names")

    write(options.output / "packages.parquet", package_table(packages))
    for file, fields in {"depends.parquet": ["Pre-Depends", "Depends"], "recommends.parquet": ["Recommends"]}.items():
        edges, dropped = edges_of(packages, providers, fields)
        write(options.output / file, edge_table(edges))
        print(f"  {dropped} relations dropped: no package of the index has or provides the name")


def index_of_this_machine() -> Path:
    """The `main` index of the base suite, as apt downloaded it; `apt-get update` refreshes it."""
    wanted = ["Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main"]
    command = ["apt-get", "indextargets", "--format", "$(CODENAME)|$(FILENAME)", *wanted]
    try:
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    except FileNotFoundError:
        sys.exit("this machine has no apt-get: give the path of a Packages index")
    # bookworm, not bookworm-updates: the base suite is the one whose codename has no suffix.
    found = [Path(file) for codename, file in (line.split("|") for line in lines) if "-" not in codename]
    existing = [file for file in found if file.exists()]
    if not existing:
        sys.exit("apt has no Packages index of Debian main: run `apt-get update`, or give the path of an index")
    return existing[0]


def read_text(index: Path) -> str:
    if index.suffix == ".xz":
        return lzma.decompress(index.read_bytes()).decode()
    # Recognizes .gz, .lz4 and .zst by the name; anything else is read as it is.
    with pa.input_stream(str(index), compression="detect") as stream:
        return stream.read().decode()


def stanzas(text: str) -> Iterator[Stanza]:
    """One mapping per paragraph. A field that continues on further lines keeps its first line only."""
    for paragraph in text.split("\n\n"):
        lines = [line for line in paragraph.splitlines() if line and not line[0].isspace()]
        stanza = {field: value.strip() for field, _, value in (line.partition(":") for line in lines)}
        if "Package" in stanza:
            yield stanza


def newest_by_name(all_stanzas: Iterable[Stanza]) -> dict[str, Stanza]:
    newest: dict[str, Stanza] = {}
    for stanza in all_stanzas:
        held = newest.get(stanza["Package"])
        if held is None or version_key(stanza["Version"]) > version_key(held["Version"]):
            newest[stanza["Package"]] = stanza
    return dict(sorted(newest.items()))


def version_key(version: str) -> tuple:
    """Sorts as dpkg compares (deb-version(7)): `~` before the end, the end before letters, letters before the rest."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")

    def rank(character: str) -> int:
        return -1 if character == "~" else ord(character) if character.isalpha() else ord(character) + 256

    def part(text: str) -> tuple:
        pairs = re.findall(r"(\D*)(\d*)", text)
        return tuple(((*map(rank, word), 0), int(number or 0)) for word, number in pairs)

    return int(epoch), part(upstream), part(revision)


def providers_of(packages: Iterable[Stanza]) -> dict[str, list[str]]:
    """Virtual name → the real packages that provide it, sorted by name."""
    providers: dict[str, set[str]] = {}
    for stanza in packages:
        for name, _constraint in relations(stanza.get("Provides", "")):
            providers.setdefault(name, set()).add(stanza["Package"])
    return {name: sorted(real) for name, real in providers.items()}


def relations(field: str) -> Iterator[tuple[str, str | None]]:
    """(name, constraint) of every relation in a field, alternatives one by one."""
    for text in re.split(r"[,|]", field):
        match = RELATION.match(text)
        if match:
            yield match["name"], f"{match['operator']} {match['version']}" if match["operator"] else None


def edges_of(packages: dict[str, Stanza], providers: dict[str, list[str]], fields: list[str]) -> tuple[Edges, int]:
    edges: Edges = {}
    dropped = 0
    for source, stanza in packages.items():
        wanted = (relation for field in fields for relation in relations(stanza.get(field, "")))
        for name, constraint in wanted:
            if name in packages:
                targets = [name]
            else:  # a version of the virtual name says nothing about the version of the package behind it
                targets, constraint = providers.get(name, []), None
                dropped += not targets
            for target in targets:
                if target == source:
                    continue
                constraints = edges.setdefault((source, target), [])
                if constraint and constraint not in constraints:
                    constraints.append(constraint)
    return dict(sorted(edges.items())), dropped


def package_table(packages: dict[str, Stanza]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "name": name,
                "version": stanza.get("Version"),
                "section": stanza.get("Section"),
                "installed_size": int(stanza["Installed-Size"]) if "Installed-Size" in stanza else None,
                "description": stanza.get("Description") or None,
            }
            for name, stanza in packages.items()
        ],
        PACKAGES,
    )


def edge_table(edges: Edges) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"from": source, "to": target, "constraint": ", ".join(constraints) or None}
            for (source, target), constraints in edges.items()
        ],
        EDGES,
    )


def write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd", compression_level=19)
    print(f"{path.name}: {table.num_rows} rows, {path.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
