"""The messages of our `.proto` files as protobuf's own classes, in a pool that nobody else uses."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2 as pb
from google.protobuf import descriptor_pool, message_factory

from changeover.protocol.oip_grpc_schema import ENUMS, MESSAGES, Slot, Table

_TYPE = pb.FieldDescriptorProto
_KINDS = {
    "bool": _TYPE.TYPE_BOOL,
    "bytes": _TYPE.TYPE_BYTES,
    "double": _TYPE.TYPE_DOUBLE,
    "float": _TYPE.TYPE_FLOAT,
    "int32": _TYPE.TYPE_INT32,
    "int64": _TYPE.TYPE_INT64,
    "string": _TYPE.TYPE_STRING,
    "uint32": _TYPE.TYPE_UINT32,
    "uint64": _TYPE.TYPE_UINT64,
}


def _described(slot: Slot, one_ofs: list[list[str]]) -> pb.FieldDescriptorProto:
    label = _TYPE.LABEL_REPEATED if slot.many else _TYPE.LABEL_OPTIONAL
    described = pb.FieldDescriptorProto(name=slot.name, number=slot.number, label=label)
    if slot.message is not None:
        described.type, described.type_name = _TYPE.TYPE_MESSAGE, f".{slot.message.name}"
    elif slot.kind in _KINDS:
        described.type = _KINDS[slot.kind]
    else:
        described.type, described.type_name = _TYPE.TYPE_ENUM, f".{slot.kind}"
    for index, members in enumerate(one_ofs):
        if slot.name in members:
            described.oneof_index = index
    return described


def _add(table: Table, messages: dict[str, pb.DescriptorProto], file: pb.FileDescriptorProto) -> None:
    outer, _, name = table.name.rpartition(".")
    message = messages[outer].nested_type.add() if outer in messages else file.message_type.add()
    message.name = name
    messages[table.name] = message
    for one_of in table.one_ofs:
        message.oneof_decl.add(name=one_of)
    message.field.extend(_described(slot, list(table.one_ofs.values())) for slot in table.slots.values())
    message.options.map_entry = name.endswith("Entry") and outer in messages


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for package in ("inference", "grpc.health.v1"):
        file = pb.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        messages: dict[str, pb.DescriptorProto] = {}
        for table in sorted(MESSAGES.values(), key=lambda table: table.name):
            if table.name.startswith(f"{package}."):
                _add(table, messages, file)
        for full, values in ENUMS.items():
            outer, _, name = full.rpartition(".")
            if full.startswith(f"{package}."):
                enum = messages[outer].enum_type.add() if outer in messages else file.enum_type.add()
                enum.name = name
                for value, number in values.items():
                    enum.value.add(name=value, number=number)
        pool.AddSerializedFile(file.SerializeToString())
    return pool


POOL = _pool()


def message(name: str) -> Any:
    """The class of a message, by its full name."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))
