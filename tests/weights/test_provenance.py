"""Licences that a report lists."""

from __future__ import annotations

import pytest

from mobilenets.weights import PUBLISHED
from mobilenets.weights.provenance import UNKNOWN, provenance


@pytest.mark.parametrize("known", PUBLISHED, ids=lambda known: known.repo)
def test_published_weights_are_known_by_address_and_in_a_cache(known: object) -> None:
    assert hasattr(known, "repo") and hasattr(known, "network")
    repo, network = str(known.repo), str(known.network)
    kept = f"/cache/hub/models--{repo.replace('/', '--')}/snapshots/0123/model.safetensors"
    for source in (f"hf://{repo}/model.safetensors", kept, f"/mirror/{repo}/model.safetensors"):
        (found,) = provenance(network, source)
        assert found["source"].startswith(f"hf://{repo}")
        assert found["licence"] in ("apache-2.0", "other")


def test_other_weights_say_that_nothing_is_stated() -> None:
    assert provenance("mobilenet_v2", "mine.safetensors")[0]["licence"] == UNKNOWN
    assert provenance("mobilenet_v1", "hf://timm/mobilenetv2_100.ra_in1k")[0]["licence"] == UNKNOWN
    assert provenance("mobilenet_v2", None)[0]["source"] == "random"
