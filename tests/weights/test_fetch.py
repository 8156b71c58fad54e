"""Weights by address: files, a real server on loopback in the hub's place, a folder as mirror; what goes wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import Hub, serving

from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.table import scale
from mobilenets.weights import resolve
from mobilenets.weights.fetch import Address
from mobilenets.zoo import INDEX

V2 = INDEX["mobilenet_v2"]
BODY = bytes(range(256)) * 400
SHA = hashlib.sha256(BODY).hexdigest()
ADDRESS = "hf://someone/net/a.safetensors"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MOBILENETS_MIRROR", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    files = {"someone/net/a.safetensors": BODY, "timm/mobilenetv2_100.ra_in1k/model.safetensors": BODY}
    with serving(Hub(files)) as hub:
        monkeypatch.setenv("MOBILENETS_MIRROR", hub.url)
        yield hub


def quiet(_: str) -> None:
    pass


@pytest.mark.parametrize(("text", "parts"), [
    ("hf://a/b", ("a/b", "main", "model.safetensors")),
    ("hf://a/b@v1", ("a/b", "v1", "model.safetensors")),
    ("hf://a/b/c/d.safetensors", ("a/b", "main", "c/d.safetensors")),
    ("hf://a/b@refs/pr/4/d.safetensors", ("a/b", "refs/pr/4", "d.safetensors")),
])  # fmt: skip
def test_addresses(text: str, parts: tuple[str, str, str]) -> None:
    address = Address.parse(text)
    assert (address.repo, address.revision, address.file) == parts
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("text", ["hf://a", "hf://a/b/c.pth", "hf:///b", "hf://../b", "hf://a/b/../../c.safetensors"])
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(MisuseError, match=r"expected hf://OWNER/REPO\[@REVISION\]"):
        resolve(text, V2, note=quiet)


def test_a_local_file_is_itself(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    with pytest.raises(MisuseError, match=r"no such weights: .*a.safetensors. Expected a .safetensors file, hf://"):
        resolve(file, V2, note=quiet)
    file.write_bytes(b"")
    assert resolve(file, V2, note=quiet) == file
    assert resolve(str(file), V2, note=quiet) == file


def test_downloaded_once_into_the_cache(hub: Hub, cache: Path) -> None:
    told: list[str] = []
    path = resolve(ADDRESS, V2, note=told.append)
    assert path is not None and path.read_bytes() == BODY and path.is_relative_to(cache)
    assert told == [f"downloading {ADDRESS}"]
    asked = len(hub.asked)
    assert resolve(ADDRESS, V2, note=told.append) == path
    assert len(hub.asked) == asked and len(told) == 1, "the second time nobody is asked"


def test_imagenet_is_the_best_published(hub: Hub) -> None:
    path = resolve("imagenet", V2, note=quiet)
    assert path is not None and path.read_bytes() == BODY
    assert any("/timm/mobilenetv2_100.ra_in1k/resolve/main/model.safetensors" in line for line in hub.asked)
    assert resolve("auto", scale(V2, 0.9), note=quiet) == path, "the next wider one"


def test_a_wrong_hash_is_removed_and_refused(hub: Hub, cache: Path) -> None:
    hub.sha256 = "0" * 64
    with pytest.raises(CheckpointError, match=f"its sha256 is {SHA}, expected {'0' * 64}. It was removed: try again"):
        resolve(ADDRESS, V2, note=quiet)
    assert not [p for p in cache.rglob("*") if p.is_file() and p.stat().st_size == len(BODY)]
    hub.sha256 = ""
    assert resolve(ADDRESS, V2, note=quiet) is not None


def test_a_file_damaged_in_the_cache_is_refused(hub: Hub) -> None:
    path = resolve(ADDRESS, V2, note=quiet)
    assert path is not None
    path.resolve().write_bytes(BODY[:-1] + b"!")
    with pytest.raises(CheckpointError, match="damaged"):
        resolve(ADDRESS, V2, note=quiet)
    assert not path.exists()


def test_half_a_body_is_refused(hub: Hub) -> None:
    hub.cut = True
    with pytest.raises(CheckpointError, match=f"{ADDRESS}: cannot be downloaded from http://127"):
        resolve(ADDRESS, V2, note=quiet)
    hub.cut = False
    path = resolve(ADDRESS, V2, note=quiet)
    assert path is not None and path.read_bytes() == BODY


@pytest.mark.parametrize(("address", "message"), [
    ("hf://someone/net/b.safetensors", "no such file in someone/net"),
    ("hf://someone/other", "no such repository, or it is not public"),
])  # fmt: skip
def test_what_the_hub_has_not(hub: Hub, address: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        resolve(address, V2, note=quiet)


def test_a_server_that_is_down(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = resolve(ADDRESS, V2, note=quiet)
    with serving(Hub()) as gone:
        monkeypatch.setenv("MOBILENETS_MIRROR", gone.url)
    with pytest.raises(
        CheckpointError, match=r"cannot be downloaded from http://127.*Without the hub: give a local"
    ) as e:
        resolve("imagenet", V2, note=quiet)
    assert "\n" not in str(e.value) and e.value.exit_code == 1
    told: list[str] = []
    assert resolve("auto", V2, note=told.append) is None
    assert len(told) == 1
    assert told[0].startswith("no ImageNet weights, training starts from random ones: hf://timm/mobilenetv2_100")
    assert resolve(ADDRESS, V2, note=quiet) == kept, "what is there needs no server"


def test_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=f"{ADDRESS}: not in .*hub, and HF_HUB_OFFLINE is set"):
        resolve(ADDRESS, V2, note=quiet)
    assert not hub.asked


def test_a_folder_as_mirror(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(CheckpointError, match=r"the mirror .*mirror. has no .*someone/net/a.safetensors"):
        resolve(ADDRESS, V2, note=quiet)
    file = tmp_path / "mirror" / "someone" / "net" / "a.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(BODY)
    assert resolve(ADDRESS, V2, note=quiet) == file, "without a hash beside it there is nothing to check"
    file.with_name("a.safetensors.sha256").write_text(f"{SHA}  a.safetensors\n")
    assert resolve(ADDRESS, V2, note=quiet) == file
    file.write_bytes(BODY[:-1])
    with pytest.raises(CheckpointError, match=f"damaged: its sha256 is .*, a.safetensors.sha256 says {SHA}"):
        resolve(ADDRESS, V2, note=quiet)
    assert file.exists(), "a mirror is not ours to clean"


def test_nothing_published(cache: Path) -> None:
    with pytest.raises(
        MisuseError, match=r"mobilenet_v2 at width 1.5 or wider are known; known widths: 0.5, 0.75, 1, 1.4"
    ):
        resolve("imagenet", scale(V2, 1.5), note=quiet)
    with pytest.raises(
        MisuseError, match="no published weights of mnasnet_a1 are known; known are those of mobilenet_v1"
    ):
        resolve("imagenet", INDEX["mnasnet_a1"], note=quiet)
    told: list[str] = []
    assert resolve("auto", INDEX["mnasnet_a1"], note=told.append) is None
    assert len(told) == 1 and "training starts from random" in told[0]


def test_without_the_extra(cache: Path, tmp_path: Path) -> None:
    """A fresh interpreter in which the import fails, as it does where the extra is not installed."""
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from mobilenets.errors import MissingExtraError\n"
        "from mobilenets.weights import resolve\n"
        "from mobilenets.zoo import INDEX\n"
        "print(resolve('auto', INDEX['mobilenet_v2'], note=print))\n"
        "try: resolve('hf://a/b', INDEX['mobilenet_v2'], note=print)\n"
        "except MissingExtraError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[0].startswith("no ImageNet weights, training starts from random ones: downloading hf://timm/")
    assert out[1] == "None"
    assert out[2] == (
        "downloading hf://a/b/model.safetensors needs huggingface_hub, which is not installed: "
        "pip install 'mobilenets[hub]'"
    )
