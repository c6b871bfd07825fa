"""Messages of gRPC's services to plain values and back, by the names of their `.proto` files.

The values are those of the JSON endpoints: a message is a dict by field names, an enum a name, a map a dict. So one
answer serves both ports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from changeover.protocol.oip import SHOWN, refusal
from changeover.protocol.oip_grpc_scalars import cut
from changeover.protocol.oip_grpc_schema import MESSAGES, Slot, Table
from changeover.protocol.oip_grpc_wire import LENGTH, Fields, write_bytes, write_varint, wrong_form

Parameter = bool | int | float | str
"""The plain value of a parameter."""

_PARAMETERS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}


def decode(message: str, body: memoryview) -> dict[str, Any]:
    """The values of a message.

    Args:
        message: its full name, such as `inference.ModelReadyRequest` (`oip_grpc_schema.Method.request`).
        body: its bytes; fields of bytes are views of it.

    Returns:
        A value for each field: what is not there has the default, an empty list, or an empty map. Only messages and
        members of a one-of that are not there are left out.

    Raises:
        InvalidRequest: `malformed_protobuf`.
        TooLarge: `too_many_fields`.
    """
    return read(MESSAGES[message], body, Fields())


def read(table: Table, body: memoryview, fields: Fields) -> dict[str, Any]:
    """`decode` for a table; `fields` counts."""
    return _merge(table, body, fields, dict(table.defaults))


def _merge(table: Table, body: memoryview, fields: Fields, values: dict[str, Any]) -> dict[str, Any]:
    """Put a message's fields over the values of an earlier part of it: a single value that comes again replaces."""
    by_tag = table.by_tag
    for tag, value in fields.of(body):
        slot = by_tag.get(tag)
        if slot is None:
            if tag >> 3 in table.numbers:
                raise wrong_form(tag, table.name)
            continue
        for rival in slot.rivals:
            values.pop(rival, None)
        if slot.is_map:
            key, item = _entry(slot, value, fields)
            _grown(values, slot.name, {})[key] = item
        elif slot.many:
            _grown(values, slot.name, []).extend(_items(slot, tag, value, fields))
        elif slot.scalar is not None:
            values[slot.name] = slot.scalar.read(value)
        else:
            held = values.get(slot.name)
            values[slot.name] = _merge(slot.table, value, fields, dict(slot.table.defaults) if held is None else held)
    return values


def _grown(values: dict[str, Any], name: str, empty: Any) -> Any:
    """A field's list or dict, a new one in place of the default that all messages share."""
    if not values[name]:
        values[name] = empty
    return values[name]


def _items(slot: Slot, tag: int, value: memoryview, fields: Fields) -> Iterator[Any]:
    """The values that one field brings to a list: many when it is packed."""
    if slot.scalar is None:
        yield read(slot.table, value, fields)
    elif tag & 7 == slot.scalar.form:
        yield slot.scalar.read(value)
    else:
        for one in cut(value, slot.scalar.form):
            fields.spend()
            yield slot.scalar.read(one)


def _entry(slot: Slot, value: memoryview, fields: Fields) -> tuple[Any, Any]:
    """Key and value of an entry of a map."""
    entry = read(slot.table, value, fields)
    if "value" not in entry:
        entry["value"] = dict(slot.table.slots["value"].table.defaults)
    return entry["key"], entry["value"]


def chosen(given: Mapping[str, Mapping[str, Any]], where: str) -> dict[str, Any]:
    """The values of a map whose values are one-ofs, such as parameters and settings.

    Raises:
        InvalidRequest: `wrong_type`, one has no value.
    """
    for name, choice in given.items():
        if not choice:
            raise refusal(f"{where}.{name[:SHOWN]}", "a string, a number, true or false", None)
    return {name: next(iter(choice.values())) for name, choice in given.items()}


def as_parameters(values: Mapping[str, Parameter]) -> dict[str, dict[str, object]]:
    """Plain values as the one-ofs of `InferParameter`."""
    return {name: {_PARAMETERS[type(value)]: value} for name, value in values.items()}


def encode(message: str, values: Mapping[str, Any]) -> bytes:
    """The bytes of a message.

    Args:
        message: its full name, such as `inference.ModelReadyResponse` (`oip_grpc_schema.Method.response`).
        values: as `decode` gives them; what is left out, or None, is not written.

    Raises:
        ValueError: a name that the message has not: a defect of the caller.
    """
    return write(MESSAGES[message], values)


def write(table: Table, values: Mapping[str, Any]) -> bytes:
    """`encode` for a table."""
    unknown = values.keys() - table.slots.keys()
    if unknown:
        raise ValueError(f"{table.name} has no {', '.join(sorted(unknown))}")
    parts: list[bytes] = []
    for name, slot in table.slots.items():
        value = values.get(name)
        if value is None or value == table.defaults.get(name):
            continue
        if slot.is_map:
            items = [{"key": key, "value": item} for key, item in value.items()]
            parts += [write_bytes(slot.number, write(slot.table, item)) for item in items]
        elif not slot.many:
            parts.append(_field(slot, value))
        elif slot.scalar is not None and slot.scalar.form != LENGTH:
            if len(value):
                parts.append(write_bytes(slot.number, b"".join(map(slot.scalar.write, value))))
        else:
            parts += [_field(slot, item) for item in value]
    return b"".join(parts)


def _field(slot: Slot, value: Any) -> bytes:
    if slot.scalar is None:
        return write_bytes(slot.number, write(slot.table, value))
    written: bytes = slot.scalar.write(value)
    if slot.scalar.form == LENGTH:
        return write_bytes(slot.number, written)
    return write_varint(slot.number << 3 | slot.scalar.form) + written
