"""Buckets of requests."""

from __future__ import annotations

from changeover.gateway.strata import STRATA, Strata, bucket_of
from changeover.transport.control import BUCKETS


def test_a_round_has_each_stratum_once() -> None:
    """So one per cent is one request in a hundred."""
    strata = Strata()
    for _ in range(3):
        assert sorted(strata.bucket() * STRATA // BUCKETS for _ in range(STRATA)) == list(range(STRATA))


def test_a_key_has_its_own_bucket() -> None:
    """The same for ever, and keys spread."""
    assert bucket_of(b"a") == bucket_of(b"a")
    assert len({bucket_of(b"%d" % n) * 10 // BUCKETS for n in range(200)}) == 10
