"""Random requests made of the inference port's own description, against a real server.

    python benchmarks/described.py [--cases 50000] [--seed N]

Schemathesis makes cases that fit the description and cases that do not, for every operation. Each answer must have a
status that the description has for that operation, in the form that it says with one of the reasons that it lists, and
no status from 500 on but 503 and 504. Names, shapes and the like are narrowed first, so that a part of the requests
gets as far as a model. Figures come as JSON lines.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections import Counter
from typing import Any, NamedTuple

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from models import double
from rig import Server, emit, say, verdict

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
INFER = "/infer"
SIMPLE_SHARE = 0.01
"""Of all cases, for an operation that is no inference; inferences share the rest."""
_PARAMETERS: dict[str, list[Any]] = {
    "model": ["double", "double", "double", "nobody", "a b", "é"],
    "version": ["1", "2", "active", "candidate", "x"],
    "changeover-timeout": ["5", "500ms", "1us", "-1", "nan", "soon"],
    "changeover-version": ["1", "active", "candidate", "9"],
    "changeover-key": ["k", "client-17"],
    "Inference-Header-Content-Length": [1, 2, 60, 100, 123, 200, 4096, 9999999999],
}
_OF_INFERENCE: dict[str, list[Any]] = {
    "model": ["double"],
    "version": ["1", "active"],
    "changeover-version": ["1", "active", "9"],
}
"""Instead of those: a name that nobody has is one error, whatever else there is."""
_INPUT: dict[str, Any] = {
    "name": {"enum": ["x", "y", ""]},
    "datatype": {"enum": ["FP32", "INT64", "BYTES", "FP16", "BOOL", "COMPLEX"]},
    "shape": {"enum": [[1, 4], [2, 4], [0, 4], [4], [-1, 4], [1, 4, 1], [1 << 40, 1 << 40], []]},
    "data": {
        "anyOf": [
            {"enum": [[1, 2, 3, 4], [1.5, 2, 3, 4], [[1, 2, 3, 4]], [[1, 2], [3, 4]], [1e300, 2, 3, 4], ["a"] * 4]},
            {"type": "array", "items": {"type": ["number", "string", "boolean", "null"]}, "maxItems": 8},
        ]
    },
}
_ANY: list[Any] = [True, -1, 0, 1.5, "x", None, []]
_MEMBERS: dict[str, dict[str, list[Any]]] = {
    "InputTensor": {"binary_data_size": [0, 16, 15, 1 << 40], "shared_memory_region": ["r"]},
    "WantedOutput": {"binary_data": [True, False], "classification": [1, 2, 1 << 40], "shared_memory_region": ["r"]},
    "InferenceRequest": {
        "binary_data_output": [True, False],
        "timeout": [1, 5_000_000],
        "priority": [1],
        "sequence_id": [7, "s"],
        "sequence_start": [True],
    },
}
"""Of the parameters of these, beside `_ANY`. Objects of anything would be most of the time, and are one error."""

_X = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
_GOOD: list[Any] = [
    {"inputs": [_X]},
    {"inputs": [_X], "outputs": [{"name": "y", "parameters": {"binary_data": True}}], "id": "1"},
    {"inputs": [_X], "parameters": {"binary_data_output": True, "timeout": 5_000_000, "priority": 1}},
    {"inputs": [_X], "outputs": [{"name": "z"}]},
]


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with values that lead further into the server; statuses and forms of answers stay as they are."""
    told = copy.deepcopy(document)
    for path, methods in told["paths"].items():
        values = {**_PARAMETERS, **(_OF_INFERENCE if path.endswith(INFER) else {})}
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] in values:
                    parameter["schema"] = {"enum": values[parameter["name"]]}
    schemas = told["components"]["schemas"]
    schemas["InputTensor"]["properties"] |= _INPUT
    for name, members in _MEMBERS.items():
        known = {member: {"enum": [*values, *_ANY]} for member, values in members.items()}
        other = {"additionalProperties": {"enum": _ANY}, "maxProperties": 3}
        schemas[name]["properties"]["parameters"] |= {"properties": known, **other}
    schemas["InferenceRequest"]["properties"]["inputs"] |= {"maxItems": 3}
    schemas["InferenceRequest"] = {"anyOf": [{"enum": _GOOD}, schemas["InferenceRequest"]]}
    return told


class Job(NamedTuple):
    """So many requests of one operation, that fit its description, or do not."""

    operation: APIOperation
    mode: GenerationMode
    cases: int


def jobs(document: dict[str, Any], cases: int) -> list[Job]:
    """What about `cases` requests are made of, the largest first."""
    schema = schemathesis.openapi.from_dict(narrowed(document))
    operations = [found.ok() for found in schema.get_all_operations()]
    inferences = [operation for operation in operations if operation.path.endswith(INFER)]
    simple = max(1, int(cases * SIMPLE_SHARE / 2))
    share = max(1, (cases - 2 * simple * (len(operations) - len(inferences))) // (2 * max(1, len(inferences))))
    found = [
        Job(operation, mode, share if operation in inferences else simple)
        for operation in operations
        for mode in list(GenerationMode)
    ]
    return sorted(found, key=lambda job: -job.cases)


def fuzz(
    document: dict[str, Any], url: str, cases: int, number: int = 1, part: slice = slice(None)
) -> Counter[tuple[str, int]]:
    """Send about `cases` requests, or this part of them; returns how often each operation gave each status.

    Raises:
        AssertionError: an answer that was not described, or one that must not be; with the request as a curl command.
    """
    seen: Counter[tuple[str, int]] = Counter()
    with requests.Session() as session:
        for job in jobs(document, cases)[part]:
            _send(job, _Sender(session, url, seen), settings_of(job.cases), number)
    return seen


def settings_of(most: int) -> settings:
    """New cases only, as many as are wanted, however long they take."""
    return settings(
        max_examples=most,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


class _Sender:
    """Sends a case and looks at its answer."""

    def __init__(self, session: requests.Session, url: str, seen: Counter[tuple[str, int]]) -> None:
        self._session, self._url, self._seen = session, url, seen

    def __call__(self, case: Case) -> None:
        answer = case.call(base_url=self._url, session=self._session, timeout=60)
        self._seen[case.operation.label, answer.status_code] += 1
        allowed = answer.status_code < 500 or answer.status_code in (503, 504)
        assert allowed, f"{answer.status_code} {answer.text}\n{case.as_curl_command()}"
        try:
            case.validate_response(answer, checks=CHECKS)
        except (Failure, FailureGroup) as error:
            raise AssertionError(f"{case.operation.label}: {error}") from None


def _send(job: Job, sender: _Sender, how: settings, number: int) -> None:
    @seed(number)
    @how
    @given(case=job.operation.as_strategy(generation_mode=job.mode))
    def send(case: Case) -> None:
        sender(case)

    try:
        send()
    except Unsatisfiable:
        pass  # nothing can be wrong with a request that has neither parameters nor body


def main() -> int:
    """Run against a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with Server({"double": double()}) as server:
        url = f"http://127.0.0.1:{server.port}"
        document = requests.get(f"{url}/openapi.json", timeout=10).json()
        begun = time.monotonic()
        problem = ""
        try:
            seen = fuzz(document, url, arguments.cases, arguments.seed)
        except AssertionError as error:
            seen, problem = Counter(), str(error)
            say(problem)
        by_status = Counter[int]()
        for (_, status), count in seen.items():
            by_status[status] += count
        emit(
            "described_cases",
            met=not problem and seen.total() >= 0.9 * arguments.cases,
            cases=seen.total(),
            seconds=round(time.monotonic() - begun, 1),
            statuses=dict(sorted(by_status.items())),
            problem=problem,
        )
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
