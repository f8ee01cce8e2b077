"""Text records to Arrow columns, a block of lines at a time; a fault is looked for line by line only once there is one."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from traces.errors import InputError
from traces.readers.files import Block, TraceFile

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["number", "text", "integer", "integers"]


class Field(NamedTuple):
    """A field to read: its name in the file, what it holds, and whether every record must have it."""

    name: str
    kind: Kind = "number"
    required: bool = True


Batch = tuple[Block, "pa.Table"]


def require(file: TraceFile, found: tuple[str, ...], fields: Mapping[str, Field], what: str) -> None:
    """Raises InputError naming the columns that are missing and those that were found."""
    if missing := [field.name for field in fields.values() if field.required and field.name not in found]:
        raise InputError(
            f"{file.where}: {what} has no column {', '.join(map(repr, missing))}; found {listed(found)}; "
            "name its columns with format: table and arrival, prompt, output"
        )


def listed(names: tuple[str, ...]) -> str:
    """Column names for a message: a dozen at most, none longer than a line."""
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(repr(name if len(name) <= 40 else name[:37] + "...") for name in names[:12]) + more or "none"


def read_csv(file: TraceFile, header: tuple[str, ...], fields: Mapping[str, Field]) -> Iterator[Batch]:
    """The named fields (role → field) of a CSV file with a header line; the tables' columns are named by role.

    Raises:
        InputError: a line with too few or too many columns, or a value that is not of the field's kind.
    """
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    present = {role: field for role, field in fields.items() if field.name in header}
    convert = arrow_csv.ConvertOptions(
        column_types={field.name: _arrow_type(field.kind) for field in present.values()},
        include_columns=[field.name for field in present.values()],
        null_values=[""],
        strings_can_be_null=True,
    )
    for block in _without_header(file):
        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(block.data), read_options=arrow_csv.ReadOptions(column_names=list(header)), convert_options=convert
            )
        except pa.ArrowInvalid as error:
            raise _csv_fault(file, block, header, present, error) from None
        yield block, table.rename_columns(list(present))


def read_jsonl(file: TraceFile, fields: Mapping[str, Field]) -> Iterator[Batch]:
    """The named fields (role → field) of a file of JSON objects, one per line; columns that no record has are null.

    Raises:
        InputError: a line that is no JSON object, or a value that is not of the field's kind.
    """
    import pyarrow as pa

    for block in file.blocks():
        try:
            table = _parsed(block, fields, pa.int64())
        except pa.ArrowInvalid as error:
            try:
                table = _parsed(block, fields, pa.uint64())
            except pa.ArrowInvalid:
                raise _json_fault(file, block, fields, error) from None
        yield block, table


def _parsed(block: Block, fields: Mapping[str, Field], element: Any) -> pa.Table:
    """``element``: the type of the numbers in lists; block hashes may need all 64 bits."""
    import pyarrow as pa
    import pyarrow.json as arrow_json

    types = {field.name: pa.list_(element) if field.kind == "integers" else _arrow_type(field.kind) for field in fields.values()}
    parse = arrow_json.ParseOptions(explicit_schema=pa.schema(types), unexpected_field_behavior="ignore")
    longest = max(map(len, block.data.splitlines())) + 1
    read = arrow_json.ReadOptions(block_size=max(longest, 1 << 20))
    return arrow_json.read_json(pa.BufferReader(block.data), read, parse).select(list(types)).rename_columns(list(fields))


def _without_header(file: TraceFile) -> Iterator[Block]:
    seen = False
    for block in file.blocks():
        if seen:
            yield block
        elif numbered := next(block.lines(), None):
            seen, number = True, numbered[0]
            rest = block.data.split(b"\n", number - block.first_line + 1)[-1]
            if rest.strip():
                yield Block(number + 1, rest)


def _arrow_type(kind: Kind) -> Any:
    import pyarrow as pa

    # Counts are read as floating point so that 512.0 passes and NaN, 1.5 and -3 reach the checks that name them.
    return {"number": pa.float64(), "text": pa.string(), "integer": pa.int64()}[kind]


def _csv_fault(file: TraceFile, block: Block, header: tuple[str, ...], fields: Mapping[str, Field], error: Exception) -> InputError:
    for number, line in block.lines():
        try:
            values = next(csv.reader([line]), [])
        except csv.Error as reason:
            return InputError(f"{file.where}: line {number}: not valid CSV ({reason}); correct or delete the line")
        if len(values) != len(header):
            return InputError(f"{file.where}: line {number}: {len(values)} of {len(header)} columns; complete or delete the line")
        record = dict(zip(header, values, strict=True))
        for field in fields.values():
            if fault := _text_fault(field, record[field.name]):
                return InputError(f"{file.where}: line {number}: {fault}")
    return _unlocated(file, block, error)


def _json_fault(file: TraceFile, block: Block, fields: Mapping[str, Field], error: Exception) -> InputError:
    for number, line in block.lines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as reason:
            return InputError(f"{file.where}: line {number}: not valid JSON ({reason}); complete or delete the line")
        if not isinstance(record, dict):
            return InputError(f"{file.where}: line {number}: not a JSON object; a JSONL trace has one object per line")
        for field in fields.values():
            if fault := _value_fault(field, record.get(field.name)):
                return InputError(f"{file.where}: line {number}: {fault}")
    return _unlocated(file, block, error)


def _unlocated(file: TraceFile, block: Block, error: Exception) -> InputError:
    reason = str(error).splitlines()[0]
    return InputError(f"{file.where}: at or after line {block.first_line}: {reason}; correct the file")


def _text_fault(field: Field, text: str) -> str:
    convert = {"number": float, "integer": int}.get(field.kind)
    try:
        if convert and text:
            convert(text)
    except ValueError:
        return f"{field.name} is {text[:60]!r}, not a number; correct or delete the line"
    return ""


def _value_fault(field: Field, value: Any) -> str:
    def is_number(x: Any) -> bool:
        return isinstance(x, int | float) and not isinstance(x, bool)

    good = {
        "number": is_number(value),
        "integer": isinstance(value, int) and abs(value) < 1 << 63,
        "text": isinstance(value, str),
        "integers": isinstance(value, list) and all(isinstance(x, int) and -(1 << 63) <= x < 1 << 64 for x in value),
    }[field.kind]
    kind = {"number": "a number", "integer": "a 64-bit integer", "text": "text", "integers": "a list of 64-bit integers"}[
        field.kind
    ]
    return "" if good or value is None else f"{field.name} is {json.dumps(value)[:60]}, not {kind}; correct or delete the line"
