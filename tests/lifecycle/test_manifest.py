"""The manifest: one way to write it, one digest for equal contents, and only safe names."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import ModelRejected
from changeover.lifecycle.manifest import SealedFile, checked_name, manifest_of, read_manifest

FILES = st.lists(
    st.builds(
        SealedFile,
        st.sampled_from(["model.onnx", "a.data", "é.data", "golden/a", "Z"]),
        st.integers(0, 9),
        st.just("0" * 64),
    ),
    unique_by=lambda file: file.name,
)


@given(files=FILES, random=st.randoms(use_true_random=False))
def test_the_order_of_files_does_not_matter(files: list[SealedFile], random: st.DataObject) -> None:
    """The digest belongs to the contents."""
    shuffled = [*files]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert manifest_of(shuffled) == manifest_of(files)
    assert manifest_of(shuffled).digest == manifest_of(files).digest


@given(files=FILES)
def test_json_brings_back_the_same(files: list[SealedFile]) -> None:
    """What was written is what is read, and its bytes are what is hashed."""
    manifest = manifest_of(files)
    assert read_manifest(manifest.to_json()) == manifest
    assert manifest.digest == hashlib.sha256(manifest.to_json()).hexdigest()
    assert manifest.size == sum(file.size for file in files)


def test_the_form_is_fixed() -> None:
    """A digest computed elsewhere, with nothing but these words, is the same."""
    manifest = manifest_of([SealedFile("model.onnx", 3, "ab")])
    assert manifest.to_json() == b'{"files":[{"name":"model.onnx","size":3,"sha256":"ab"}],"format":1}'


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b'{"files":[],"format":2}', b'{"files":[], "format":1}', b'{"files":[],"format":1,"x":1}'],
)
def test_other_texts_are_damaged(text: bytes) -> None:
    """Also a manifest of equal meaning that is written in another way: its digest would differ."""
    with pytest.raises(ModelRejected) as caught:
        read_manifest(text)
    assert caught.value.reason == "artifact_damaged"


@pytest.mark.parametrize("name", ["model.onnx", "golden/test_data_set_0/input_0.pb", "Grüße 1.data", "a" * 200])
def test_safe_names_pass(name: str) -> None:
    """Relative, printable, not too long."""
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        ".a",
        "a/.b",
        "a\0b",
        "a\nb",
        "a\\b",
        "a" * 201,
        "é" * 150,
        "a/" * 8 + "b",
        "é" * 199 + "/" + "é" * 199,
    ],
)
def test_unsafe_names_are_refused(name: str) -> None:
    """Absolute, upwards, hidden, unprintable, too long, too deep."""
    with pytest.raises(ModelRejected) as caught:
        checked_name(name)
    assert caught.value.reason == "artifact_name"
