#!/usr/bin/env python3
"""Opens every table of a dataset with pyarrow, polars and DuckDB and compares what they see.

    python check_shards.py DATASET [--json]

For every file that the manifest names: path, sha256, length and rows are as the entry says, columns and types are those of the contract
below, and all values of all columns (lists, structs and blobs included, floats by their bits) are equal between the three readers,
with hive partitioning on. Each table is opened once more as a whole, by glob, to see that readers find the same rows without a manifest.
Prints one line per table. Exits 0 if all is well, 1 on any difference, 2 on bad arguments.
"""

import argparse
import hashlib
import json
import math
import pathlib
import sys

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

POSE = ["tx_m", "ty_m", "tz_m", "qx", "qy", "qz", "qw"]
SOURCE = {"source_topic": "string", "source_partition": "int32", "source_offset": "int64"}
KEY = {"clip": "int64"}
LABEL_KEY = {"clip": "int64", "revision": "int32"}
STAMP = {"stamp_ns": "int64"}


def doubles(names):
    return {name: "double" for name in names}


# The contract: names, order and types of the columns. Written a second time, so that a change in the writer alone does not pass.
CONTRACT = {
    "lidar": KEY | STAMP | {"sensor": "string", "stamp_ref": "string", "deskewed": "bool", "points": "int32"}
    | {name: "list<float>" for name in ["x", "y", "z", "intensity"]}
    | {"ring": "list<uint16>", "time_offset_ns": "list<int32>"} | SOURCE,
    "camera": KEY | STAMP | {"sensor": "string", "stamp_ref": "string", "width": "int32", "height": "int32", "format": "string",
                             "image": "binary"} | SOURCE,
    "ego_pose": KEY | STAMP | doubles(POSE),
    "calibration": KEY | STAMP | {"sensor": "string"} | doubles(POSE + ["fx_px", "fy_px", "cx_px", "cy_px"])
    | {"distortion_model": "string", "distortion": "list<double>", "width": "int32", "height": "int32"},
    "sample": LABEL_KEY | STAMP | {"sample_id": "string",
                                   "members": "list<struct<sensor: string, stamp_ns: int64, residual_ns: int64>>",
                                   "missing": "list<string>", "reason": "string"},
    "box3": LABEL_KEY | STAMP | {"sample_id": "string", "sample_stamp_ns": "int64", "track_id": "string", "class": "string"}
    | doubles(["score", "tx_m", "ty_m", "tz_m", "length_m", "width_m", "height_m", "qx", "qy", "qz", "qw"])
    | doubles(["world_" + name for name in POSE] + ["vx_mps", "vy_mps"])
    | {"first_point_ns": "int64", "last_point_ns": "int64"}
    | doubles(["measured_world_tx_m", "measured_world_ty_m", "measured_world_tz_m"])
    | {"num_lidar_pts": "int32", "predicted": "bool", "source": "string", "evidence": "string"},
    "track": LABEL_KEY | STAMP | {"track_id": "string", "class": "string", "score": "double", "first_stamp_ns": "int64",
                                  "last_stamp_ns": "int64", "boxes": "int32", "static": "bool", "length_m": "double",
                                  "width_m": "double", "height_m": "double", "review_priority_s": "double"},
    "finding": LABEL_KEY | STAMP | {"rule": "string", "severity": "string", "track_id": "string", "sample_id": "string",
                                    "message": "string", "values": "string"},
    "late": KEY | STAMP | {"sensor": "string", "kind": "string", "stamp_ref": "string", "reason": "string"} | SOURCE
    | {"schema": "string", "encoding": "string", "payload": "binary"},
}
# Columns that readers take from the path.
PARTITIONS = ["date", "vehicle"]
HIVE_SQL = "hive_partitioning = true, hive_types_autocast = false"


def type_name(arrow_type):
    """The type without the names and nullability of list elements, which are checked by themselves."""
    if pa.types.is_list(arrow_type):
        return f"list<{type_name(arrow_type.value_type)}>"
    if pa.types.is_struct(arrow_type):
        fields = [arrow_type.field(index) for index in range(arrow_type.num_fields)]
        return "struct<" + ", ".join(f"{field.name}: {type_name(field.type)}" for field in fields) + ">"
    return str(arrow_type)


def is_number_list(name):
    return name.startswith("list<") and "struct" not in name and "string" not in name


def same(one, two):
    """Equality of Python values, in which NaN equals NaN and 0.0 differs from -0.0."""
    if isinstance(one, float) and isinstance(two, float):
        return (math.isnan(one) and math.isnan(two)) or (one == two and math.copysign(1, one) == math.copysign(1, two))
    if isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (bytes, bytearray, memoryview)) and isinstance(two, (bytes, bytearray, memoryview)):
        return bytes(one) == bytes(two)
    return type(one) is type(two) and one == two


def number_lists(column):
    """A column of number lists as validity, lengths and the bits of all values."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    valid = np.asarray(array.is_valid())
    lengths = np.asarray(pa.compute.fill_null(pa.compute.list_value_length(array), -1)).astype(np.int64)
    values = pa.compute.list_flatten(array)
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    numbers = values.to_numpy(zero_copy_only=False)
    if values.null_count:
        raise ValueError("null inside a list")
    return valid, lengths, str(numbers.dtype), numbers.tobytes()


def first_difference(ours, theirs):
    for index, (one, two) in enumerate(zip(ours, theirs)):
        if not same(one, two):
            return f"row {index}: {str(one)[:80]!r} and {str(two)[:80]!r}"
    return f"{len(ours)} and {len(theirs)} rows"


class Checker:
    """Collects what is wrong; knows nothing of arguments and printing."""

    def __init__(self, root):
        self.root = root
        self.problems = []
        self.tables = {table: {"files": 0, "rows": 0, "bytes": 0, "values": 0} for table in CONTRACT}
        self.connection = duckdb.connect()

    def problem(self, text):
        self.problems.append(text)

    def expect(self, what, expected, got):
        if expected != got:
            self.problem(f"{what}: expected {expected!r}, got {got!r}")

    def run(self):
        marker = json.loads((self.root / "dataset.json").read_text())
        self.expect("schema_version of dataset.json", 2, marker["schema_version"])
        named = set()
        for path in sorted(self.root.glob("manifest/vehicle=*/*.json")):
            named |= self.check_entry(path)
        found = {str(path.relative_to(self.root)) for table in CONTRACT for path in self.root.glob(f"{table}/**/*.parquet")}
        for path in sorted(found - named):
            self.problem(f"{path}: no manifest entry names it")
        for path in self.root.glob("**/.*.tmp"):
            self.problem(f"{path.relative_to(self.root)}: temporary file left behind")
        for table, seen in self.tables.items():
            if seen["files"]:
                self.check_glob(table, seen["rows"])

    def check_entry(self, path):
        entry = json.loads(path.read_text())
        where = path.relative_to(self.root)
        self.expect(f"{where}: file name", f"{entry['clip']}-r{entry['revision']}.json", path.name)
        self.expect(f"{where}: tables with a count", sorted(CONTRACT), sorted(entry["rows"]))
        if entry["previous"]:
            before = path.with_name(f"{entry['previous']['clip']}-r{entry['previous']['revision']}.json")
            self.expect(f"{where}: previous.sha256", hashlib.sha256(before.read_bytes()).hexdigest(), entry["previous"]["sha256"])
        with_file = {file["table"]: file["rows"] for file in entry["files"]}
        self.expect(f"{where}: tables with rows", {table: rows for table, rows in entry["rows"].items() if rows}, with_file)
        for file in entry["files"]:
            try:
                self.check_file(entry, file)
            except Exception as error:  # Whatever a reader raises on a broken file is a finding, not the end of the check.
                self.problem(f"{file['path']}: {type(error).__name__}: {error}")
        return {file["path"] for file in entry["files"]}

    def check_file(self, entry, file):
        path = self.root / file["path"]
        if not path.is_file():
            return self.problem(f"{file['path']}: named by the manifest, but not there")
        content = path.read_bytes()
        self.expect(f"{file['path']}: bytes", file["bytes"], len(content))
        self.expect(f"{file['path']}: sha256", file["sha256"], hashlib.sha256(content).hexdigest())
        self.expect(f"{file['path']}: table", file["table"], file["path"].split("/")[0])
        metadata = pq.ParquetFile(path)
        self.expect(f"{file['path']}: rows", file["rows"], metadata.metadata.num_rows)
        schema = {field.name: type_name(field.type) for field in metadata.schema_arrow}
        self.expect(f"{file['path']}: columns", list(CONTRACT[file["table"]].items()), list(schema.items()))
        for index in range(len(metadata.schema)):
            leaf = metadata.schema.column(index).path
            if ".list." in leaf and leaf.split(".")[1:3] != ["list", "element"]:
                self.problem(f"{file['path']}: expected lists named <column>.list.element, got {leaf}")
        seen = self.tables[file["table"]]
        seen["files"] += 1
        seen["rows"] += file["rows"]
        seen["bytes"] += len(content)
        self.compare(file["path"], path, schema, entry["vehicle"])

    def compare(self, name, path, schema, vehicle):
        columns = list(schema) + PARTITIONS
        arrow = self.with_pyarrow(path).select(columns)
        polars = self.with_polars(path).select(columns).collect()
        self.expect(f"{name}: vehicle from the path", {vehicle}, set(arrow["vehicle"].to_pylist()))
        plain = [column for column in columns if not is_number_list(schema.get(column, "string"))]
        listed = [column for column in columns if column not in plain]
        quoted = ", ".join(f'"{column}"' for column in plain)
        rows = self.connection.execute(f"SELECT {quoted} FROM read_parquet(?, {HIVE_SQL})", [str(path)]).fetchall()
        for index, column in enumerate(plain):
            values = arrow[column].to_pylist()
            self.compare_values(f"{name}: {column}", values, polars[column].to_list(), [row[index] for row in rows])
            self.tables[name.split("/")[0]]["values"] += len(values)
        for column in listed:
            self.compare_lists(name, column, path, arrow[column], polars[column].to_arrow())

    def compare_values(self, what, arrow, polars, duck):
        for reader, values in [("polars", polars), ("duckdb", duck)]:
            if not same(arrow, values):
                self.problem(f"{what}: pyarrow and {reader} differ: {first_difference(arrow, values)}")

    def compare_lists(self, name, column, path, arrow, polars):
        duck = self.connection.sql(f'SELECT "{column}" FROM read_parquet(?, {HIVE_SQL})', params=[str(path)]).to_arrow_table()
        ours = number_lists(arrow)
        self.tables[name.split("/")[0]]["values"] += int(ours[1].clip(min=0).sum())
        for reader, theirs in [("polars", number_lists(polars)), ("duckdb", number_lists(duck[column]))]:
            equal = np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1]) and ours[2:] == theirs[2:]
            if not equal:
                self.problem(f"{name}: {column}: pyarrow and {reader} differ: {ours[1][:5]} {ours[2]} and {theirs[1][:5]} {theirs[2]}")

    def with_pyarrow(self, where):
        partitions = pa.schema([(name, pa.string()) for name in PARTITIONS])
        partitioning = pads.partitioning(partitions, flavor="hive")
        return pads.dataset(where, format="parquet", partitioning=partitioning).to_table()

    def with_polars(self, where):
        return pl.scan_parquet(where, hive_partitioning=True, hive_schema={name: pl.String for name in PARTITIONS})

    def check_glob(self, table, rows):
        """Every reader finds every row by itself, and the same keys."""
        keys = ["clip", "stamp_ns", *PARTITIONS]
        folder = self.root / table
        partitions = pads.partitioning(pa.schema([(name, pa.string()) for name in PARTITIONS]), flavor="hive")
        arrow = pads.dataset(folder, format="parquet", partitioning=partitions).to_table(columns=keys)
        polars = self.with_polars(folder / "**/*.parquet").select(keys).collect()
        duck = self.connection.execute(
            f"SELECT {', '.join(keys)} FROM read_parquet(?, {HIVE_SQL})", [str(folder / "**/*.parquet")]
        ).fetchall()
        ours = sorted(zip(*(arrow[key].to_pylist() for key in keys)))
        self.expect(f"{table}: rows by glob", rows, len(ours))
        for reader, theirs in [("polars", polars.rows()), ("duckdb", duck)]:
            if ours != sorted(theirs):
                self.problem(f"{table}: pyarrow and {reader} find different rows by glob: {len(ours)} and {len(theirs)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=pathlib.Path)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if not (arguments.dataset / "dataset.json").is_file():
        print(f"{arguments.dataset} is not a dataset: there is no dataset.json in it", file=sys.stderr)
        return 2
    checker = Checker(arguments.dataset)
    checker.run()
    if arguments.json:
        print(json.dumps({"ok": not checker.problems, "tables": checker.tables, "problems": checker.problems}))
    else:
        for table, seen in checker.tables.items():
            bad = sum(problem.startswith(table) for problem in checker.problems)
            state = "DIFFERS" if bad else "equal" if seen["files"] else "no rows"
            print(f"{table:12} {seen['files']:4} files {seen['rows']:8} rows {seen['values']:11} values {seen['bytes']:12} bytes  {state}")
    for problem in checker.problems:
        print(problem, file=sys.stderr)
    return 1 if checker.problems else 0


if __name__ == "__main__":
    sys.exit(main())
