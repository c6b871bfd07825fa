"""The messages of gRPC's services, as the `.proto` files beside this one declare them.

The files are the one place where names and numbers of fields stand. They are read when this module is imported (a
millisecond or two), with what of the language they use: messages, enums and one-ofs inside each other, maps, repeated
fields, services; one declaration a line. Nothing is registered anywhere, so a client's own descriptors of the same
names may live in the same process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from changeover.protocol.oip_grpc_scalars import SCALARS, Scalar, enum_scalar
from changeover.protocol.oip_grpc_wire import LENGTH


@dataclass(slots=True)
class Slot:
    """A field of a message.

    Attributes:
        name: as in the file.
        number: as in the file.
        kind: name of its type: a scalar's, or the full name of a message or enum; of a map its entry's.
        many: it is repeated; a map is repeated entries.
        is_map: `kind` is an entry of `key` and `value`.
        rivals: the other members of its one-of; empty when it is in none.
        scalar: how its values are written; None for a message.
        message: the message's table; None for a scalar.
    """

    name: str
    number: int
    kind: str
    many: bool = False
    is_map: bool = False
    rivals: tuple[str, ...] = ()
    scalar: Scalar | None = None
    message: Table | None = None

    @property
    def table(self) -> Table:
        """The message's table.

        Raises:
            ValueError: it is a scalar.
        """
        if self.message is None:
            raise ValueError(f"{self.name} is no message")
        return self.message

    @property
    def tags(self) -> tuple[int, ...]:
        """The tags its values may come with: a repeated number may be packed or not."""
        if self.scalar is None:
            return (self.number << 3 | LENGTH,)
        own = self.number << 3 | self.scalar.form
        return (own, self.number << 3 | LENGTH) if self.many and self.scalar.form != LENGTH else (own,)


@dataclass(slots=True)
class Table:
    """A message.

    Attributes:
        name: its full name, with the package.
        slots: its fields by name, in the order of the file.
        by_tag: its fields by the tags their values come with.
        numbers: the numbers of its fields.
        defaults: what a field has that is not there; messages and members of a one-of have nothing.
        one_ofs: names of the members of each one-of, by its name.
    """

    name: str
    slots: dict[str, Slot] = field(default_factory=dict)
    by_tag: dict[int, Slot] = field(default_factory=dict)
    numbers: frozenset[int] = frozenset()
    defaults: Mapping[str, object] = field(default_factory=dict)
    one_ofs: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Method:
    """A call: the messages that go in and out, and whether there are many of them."""

    request: str
    response: str
    streams_in: bool = False
    streams_out: bool = False


class _Reader:
    """Takes a file's declarations, line by line."""

    _OPEN: Final = re.compile(r"(message|enum|oneof|service) (\w+) \{(\})?")
    _FIELD: Final = re.compile(r"(repeated )?([\w.]+) (\w+) = (\d+);")
    _MAP: Final = re.compile(r"map<(\w+), ([\w.]+)> (\w+) = (\d+);")
    _CALL: Final = re.compile(r"rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\) \{\}")
    _VALUE: Final = re.compile(r"(\w+) = (\d+);")

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.enums: dict[str, dict[str, int]] = {}
        self.methods: dict[str, Method] = {}
        self._package = ""
        self._open: list[tuple[str, str]] = []

    def take(self, text: str) -> None:
        """Read a file."""
        for line in re.sub(r"//[^\n]*", "", text).splitlines():
            if line.strip() and not line.startswith("syntax"):
                self._line(line.strip())

    def _line(self, line: str) -> None:
        if line == "}":
            self._open.pop()
        elif line.startswith("package "):
            self._package = line[len("package ") : -1]
        elif opened := self._OPEN.fullmatch(line):
            self._begin(opened[1], opened[2], empty=bool(opened[3]))
        elif call := self._CALL.fullmatch(line):
            path = f"/{self._scope()}/{call[1]}"
            request, response = f"{self._package}.{call[3]}", f"{self._package}.{call[5]}"
            self.methods[path] = Method(request, response, bool(call[2]), bool(call[4]))
        elif self._open[-1][0] == "enum":
            self._enum_value(line)
        else:
            self._field(line)

    def _begin(self, what: str, name: str, *, empty: bool) -> None:
        self._open.append((what, name))
        if what == "message":
            self.tables[self._scope()] = Table(self._scope())
        elif what == "enum":
            self.enums[self._scope()] = {}
        elif what == "oneof":
            self.tables[self._scope()].one_ofs[name] = []
        if empty:
            self._open.pop()

    def _scope(self) -> str:
        """The full name of what is open; a one-of is no scope."""
        return ".".join([self._package, *(name for what, name in self._open if what != "oneof")])

    def _enum_value(self, line: str) -> None:
        value = self._VALUE.fullmatch(line)
        if value is None:
            raise ValueError(f"no value of an enum: {line!r}")
        self.enums[self._scope()][value[1]] = int(value[2])

    def _field(self, line: str) -> None:
        table = self.tables[self._scope()]
        if found := self._MAP.fullmatch(line):
            entry = f"{table.name}.{''.join(part.capitalize() for part in found[3].split('_'))}Entry"
            key, value = Slot("key", 1, found[1]), Slot("value", 2, found[2])
            self.tables[entry] = Table(entry, {"key": key, "value": value})
            table.slots[found[3]] = Slot(found[3], int(found[4]), entry, many=True, is_map=True)
        elif found := self._FIELD.fullmatch(line):
            table.slots[found[3]] = Slot(found[3], int(found[4]), found[2], many=bool(found[1]))
            if self._open[-1][0] == "oneof":
                table.one_ofs[self._open[-1][1]].append(found[3])
        else:
            raise ValueError(f"no declaration: {line!r}")

    def link(self) -> None:
        """Find every field's type, and what a message is read by."""
        for table in self.tables.values():
            for members in table.one_ofs.values():
                for name in members:
                    table.slots[name].rivals = tuple(other for other in members if other != name)
            for slot in table.slots.values():
                self._find(slot, table.name)
        for table in self.tables.values():
            table.by_tag = {tag: slot for slot in table.slots.values() for tag in slot.tags}
            table.numbers = frozenset(slot.number for slot in table.slots.values())
            table.defaults = MappingProxyType(dict(_defaults(table)))

    def _find(self, slot: Slot, scope: str) -> None:
        """Look a field's type up, from the message it is in outwards."""
        slot.scalar = SCALARS.get(slot.kind)
        while slot.scalar is None and slot.message is None:
            full = f"{scope}.{slot.kind}" if scope else slot.kind
            slot.message = self.tables.get(full)
            if full in self.enums:
                slot.scalar = enum_scalar(self.enums[full])
            if slot.scalar or slot.message:
                slot.kind = full
            elif not scope:
                raise ValueError(f"unknown type {slot.kind!r}")
            scope = scope.rpartition(".")[0]


def _defaults(table: Table) -> Iterator[tuple[str, object]]:
    for slot in table.slots.values():
        if slot.is_map:
            yield slot.name, MappingProxyType({})
        elif slot.many:
            yield slot.name, ()
        elif slot.scalar is not None and not slot.rivals:
            yield slot.name, slot.scalar.default


def read_files(*texts: str) -> tuple[dict[str, Table], dict[str, Method], dict[str, dict[str, int]]]:
    """The messages by full name, the methods by path, the enums by full name, of the texts of `.proto` files."""
    reader = _Reader()
    for text in texts:
        reader.take(text)
    reader.link()
    return reader.tables, reader.methods, reader.enums


FILES: Final = (
    "inference.proto",
    "inference_extensions.proto",
    "model_config.proto",
    "model_scheduling.proto",
    "health.proto",
)
MESSAGES, METHODS, ENUMS = read_files(*[Path(__file__).with_name(name).read_text() for name in FILES])
