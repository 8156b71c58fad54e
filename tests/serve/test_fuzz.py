"""Whatever is sent, nothing is answered with 500 and the server goes on."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from serving import Client, form

PREDICT = "/v1/models/{}:predict"
KNOWN = {200, 400, 401, 404, 405, 413, 415, 422, 429, 503}


def damaged(data: bytes, generator: random.Random) -> bytes:
    """An image that was cut, with some bytes changed, or with a part doubled."""
    changed = bytearray(data)
    match generator.randrange(4):
        case 0:
            del changed[generator.randrange(len(changed)) :]
        case 1:
            for _ in range(generator.randrange(1, 20)):
                changed[generator.randrange(len(changed))] = generator.randrange(256)
        case 2:
            for _ in range(generator.randrange(1, 5)):  # the header says sizes, orientation and depth
                changed[generator.randrange(min(400, len(changed)))] = generator.randrange(256)
        case _:
            at = generator.randrange(len(changed))
            changed[at:at] = changed[at : at + generator.randrange(1, 200)]
    return bytes(changed)


def check(client: Client, path: str, body: bytes, kind: str) -> None:
    answer = client.post(path, body, kind)
    assert answer.status in KNOWN, (answer.status, answer.body, body[:200])
    if answer.status != 200:
        assert answer.code


@pytest.mark.parametrize("times", [30, pytest.param(1500, marks=pytest.mark.slow)])
def test_damaged_images(client: Client, pictures: list[Path], times: int) -> None:
    generator = random.Random(times)
    for i in range(times):
        body = damaged(pictures[i % len(pictures)].read_bytes(), generator)
        check(client, PREDICT.format(("labels", "boxes", "masks")[i % 3]), body, "image/jpeg")
    assert client.get("/readyz").status == 200


@pytest.mark.parametrize("times", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_random_bytes_of_every_type(client: Client, pictures: list[Path], times: int) -> None:
    generator = random.Random(times)
    kinds = ("multipart/form-data; boundary=xyz", "application/json", "image/png", "", "a/b", "multipart/form-data")
    heads = (
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"RIFF....WEBP",
        b"--xyz\r\n",
        b"{",
    )
    for i in range(times):
        body = generator.choice(heads) + generator.randbytes(generator.randrange(300))
        if i % 3 == 0:
            body = damaged(form(pictures[0].read_bytes()), generator)
        check(client, PREDICT.format("labels"), body, generator.choice(kinds))
    assert client.get("/readyz").status == 200


@pytest.mark.parametrize("examples", [4, pytest.param(150, marks=pytest.mark.slow)])
def test_what_its_own_description_allows_and_forbids(client: Client, examples: int) -> None:
    """schemathesis: requests after the OpenAPI description, and against it; every answer is one of those it names."""
    schemathesis = pytest.importorskip("schemathesis")
    checks = [importlib.import_module("schemathesis.checks").not_a_server_error]
    schema = schemathesis.openapi.from_url(f"http://{client.host}/openapi.json")
    quick = settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate], derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
        either = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))

        @quick
        @given(case=either)
        def asked(case: Any) -> None:
            nonlocal tried
            tried += 1
            response = case.call(timeout=20)
            case.validate_response(response, checks=checks)
            assert response.status_code in KNOWN

        asked()
    assert tried > examples
    assert client.get("/readyz").status == 200
