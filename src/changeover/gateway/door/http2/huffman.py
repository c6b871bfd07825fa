"""The Huffman code of HPACK (pure). RFC 7541, appendix B."""

from __future__ import annotations

from typing import Final

_LENGTHS: Final = bytes((
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28,
    28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6,
    12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5,
    6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22,
    22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21,
    20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22,
    23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26,
    28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27,
    28, 27, 27, 27, 27, 27, 26, 30,
))  # fmt: skip
"""Bits of each symbol's code, the last one for the end mark. The code is canonical: shorter codes first, equal
lengths by symbol, so these lengths are all of it."""
_END: Final = 256
_MOST_PADDING: Final = 7


class NotHuffman(ValueError):
    """The bytes are no Huffman code of anything."""


def _tree() -> list[list[int]]:
    """The code as a binary tree: by node the two next nodes, or the bitwise complement of a symbol."""
    tree: list[list[int]] = [[0, 0]]
    code = before = 0
    for bits, symbol in sorted((bits, symbol) for symbol, bits in enumerate(_LENGTHS)):
        code <<= bits - before
        before = bits
        node = 0
        for shift in range(bits - 1, 0, -1):
            bit = code >> shift & 1
            if not tree[node][bit]:
                tree[node][bit] = len(tree)
                tree.append([0, 0])
            node = tree[node][bit]
        tree[node][code & 1] = ~symbol
        code += 1
    return tree


def _steps(tree: list[list[int]]) -> list[tuple[int, int]]:
    """By node and half a byte: the node after it, and the symbol that ended in it (-1: none).

    No half byte ends two symbols: the shortest has five bits. The node is -1 after the end mark.
    """
    steps = []
    for start in range(len(tree)):
        for half in range(16):
            node, symbol = start, -1
            for shift in (3, 2, 1, 0):
                node = tree[node][half >> shift & 1]
                if node < 0:
                    symbol, node = ~node, 0
            steps.append((-1 if symbol == _END else node, symbol))
    return steps


def _padding(tree: list[list[int]]) -> frozenset[int]:
    """Nodes at which a text may end: the root, and up to seven ones from it."""
    nodes = [0]
    for _ in range(_MOST_PADDING):
        nodes.append(tree[nodes[-1]][1])
    return frozenset(nodes)


_TREE: Final = _tree()
_STEPS: Final = _steps(_TREE)
_ENDS: Final = _padding(_TREE)


def decode(data: bytes) -> bytes:
    """The text that `data` is the code of.

    Raises:
        NotHuffman: it ends inside a symbol, has the end mark in it, or padding that is no beginning of that mark.
    """
    steps, node = _STEPS, 0
    out = bytearray()
    for byte in data:
        node, symbol = steps[node << 4 | byte >> 4]
        if symbol >= 0 and node >= 0:
            out.append(symbol)
        node, symbol = steps[node << 4 | byte & 15] if node >= 0 else (-1, -1)
        if node < 0:
            raise NotHuffman("the end mark inside a text")
        if symbol >= 0:
            out.append(symbol)
    if node not in _ENDS:
        raise NotHuffman("padding that is no padding")
    return bytes(out)
