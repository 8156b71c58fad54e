"""Weights by address: a local file, the Hugging Face hub, a mirror of it, or the best known for a network.

The only file that knows `huggingface_hub` (the extra `hub`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilenets.errors import CheckpointError, MissingExtraError, MisuseError, MobileNetsError
from mobilenets.files import cache_folder
from mobilenets.table.rows import Network
from mobilenets.weights.published import PUBLISHED, published_for

TIMEOUT_S = 5.0
"""How long the hub may take to answer at all."""

_ADDRESS = re.compile(
    r"hf://(?P<owner>[^/@]+)/(?P<repo>[^/@]+)(@(?P<revision>refs/[^/]+/[^/]+|[^/]+))?(/(?P<file>.+\.safetensors))?"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HINT = "Without the hub: give a local file, or set MOBILENETS_MIRROR to a folder laid out OWNER/REPO/FILE."


@dataclass(frozen=True, slots=True)
class Address:
    """A file on the hub."""

    repo: str
    revision: str
    file: str

    @staticmethod
    def parse(text: str) -> Address:
        """From `hf://owner/repo[@revision][/file.safetensors]`.

        Raises:
            MisuseError: another form.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None or ".." in text.split("/"):
            raise MisuseError(f"{text}: expected hf://OWNER/REPO[@REVISION][/FILE.safetensors].")
        file = found["file"] or "model.safetensors"
        return Address(f"{found['owner']}/{found['repo']}", found["revision"] or "main", file)

    def __str__(self) -> str:
        return f"hf://{self.repo}{'' if self.revision == 'main' else '@' + self.revision}/{self.file}"


def resolve(source: str | Path, network: Network, *, note: Callable[[str], None]) -> Path | None:
    """A local file of the weights that a source names; downloaded files are kept and checked by their hash.

    `MOBILENETS_MIRROR` is the hub's address or a folder laid out `owner/repo/file`; downloads lie in the cache folder.

    Args:
        source: a file; `hf://owner/repo[@revision][/file.safetensors]`; `imagenet`, the best published weights of the
            network at its width or the next wider one; or `auto`, which is `imagenet` where that can be had.
        network: the table that wants them.
        note: told what is downloaded, and why `auto` gives nothing.

    Returns:
        None for `auto` where there are no weights or they cannot be had.

    Raises:
        MisuseError: no such file, an address of another form, or nothing published.
        MissingExtraError: `huggingface_hub` is not installed.
        CheckpointError: the hub cannot be reached or has no such file, or the file differs from its hash.
    """
    match source:
        case "imagenet":
            return fetch(_published(network), note=note)
        case "auto":
            try:
                return fetch(_published(network), note=note)
            except MobileNetsError as error:
                note(f"no ImageNet weights, training starts from random ones: {error}")
                return None
        case str() if source.startswith("hf://"):
            return fetch(Address.parse(source), note=note)
        case _:
            check_source(source)
            return Path(source)


def check_source(source: str | Path) -> None:
    """Refuse a source that names nothing, without asking anybody: long work begins only after this.

    Raises:
        MisuseError: no such file, or an address of another form.
    """
    if str(source) in ("imagenet", "auto", "none"):
        return
    if str(source).startswith("hf://"):
        Address.parse(str(source))
    elif not Path(source).is_file():
        raise MisuseError(
            f"no such weights: {source}. Expected a .safetensors file, hf://OWNER/REPO, imagenet, auto or none."
        )


def _published(network: Network) -> Address:
    best = published_for(network)
    if best is not None:
        return Address.parse(best.address)
    name = network.backbone or network.name
    widths = [f"{p.width:g}" for p in PUBLISHED if p.network == name]
    if widths:
        raise MisuseError(
            f"no published weights of {name} at width {network.width:g} or wider are known; known widths: "
            f"{', '.join(widths)}."
        )
    names = ", ".join(dict.fromkeys(p.network for p in PUBLISHED))
    raise MisuseError(f"no published weights of {name} are known; known are those of {names}.")


def fetch(address: Address, *, note: Callable[[str], None]) -> Path:
    """A file of the hub or of its mirror, checked.

    Raises:
        MissingExtraError: `huggingface_hub` is not installed and the mirror is no folder.
        CheckpointError: it cannot be had, or differs from its hash.
    """
    mirror = os.environ.get("MOBILENETS_MIRROR", "")
    if mirror and not mirror.startswith(("http://", "https://")):
        return _from_folder(address, Path(mirror))
    return _from_hub(address, mirror or None, note)


def _from_folder(address: Address, mirror: Path) -> Path:
    path = mirror / address.repo / address.file
    if not path.is_file():
        raise CheckpointError(f"{address}: the mirror (MOBILENETS_MIRROR={mirror}) has no {path}.")
    listed = path.with_name(f"{path.name}.sha256")
    if listed.is_file():
        expected = listed.read_text(encoding="utf-8").split()
        if (found := _sha256(path)) != (expected[0].lower() if expected else ""):
            raise CheckpointError(
                f"{path}: damaged: its sha256 is {found}, {listed.name} says {expected[0] if expected else 'nothing'}. "
                "Copy it into the mirror again."
            )
    return path


def _from_hub(address: Address, endpoint: str | None, note: Callable[[str], None]) -> Path:
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "hub", purpose=f"downloading {address}") from error
    options: dict[str, Any] = {"cache_dir": cache_folder() / "hub", "revision": address.revision}
    kept = _kept(hub, address, options)
    if kept is None:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
            raise CheckpointError(f"{address}: not in {options['cache_dir']}, and HF_HUB_OFFLINE is set. {_HINT}")
        kept = _downloaded(hub, address, options, endpoint, note)
    return _checked(kept, address)


def _kept(hub: Any, address: Address, options: dict[str, Any]) -> Path | None:
    """The file where it was downloaded before: published weights do not change."""
    found = hub.try_to_load_from_cache(address.repo, address.file, **options)
    return Path(found) if isinstance(found, str) else None


def _downloaded(
    hub: Any, address: Address, options: dict[str, Any], endpoint: str | None, note: Callable[[str], None]
) -> Path:
    """One short question whether the hub is there, then the file; the client alone would ask for minutes."""
    # a token is for the hub, not for whoever mirrors it
    token = False if endpoint else None
    url = hub.hf_hub_url(address.repo, address.file, revision=address.revision, endpoint=endpoint)
    hub.utils.disable_progress_bars()
    try:
        hub.get_hf_file_metadata(url, timeout=TIMEOUT_S, token=token)
        note(f"downloading {address}")
        path = hub.hf_hub_download(
            address.repo, address.file, **options, endpoint=endpoint, token=token, etag_timeout=TIMEOUT_S
        )
    except Exception as error:  # the client and its transport raise almost any type
        raise _refusal(hub, address, endpoint, error) from error
    return Path(path)


def _refusal(hub: Any, address: Address, endpoint: str | None, error: Exception) -> CheckpointError:
    server = endpoint or "the hub"
    errors = hub.errors
    if isinstance(error, errors.GatedRepoError | errors.RepositoryNotFoundError):
        return CheckpointError(f"{address}: {server} has no such repository, or it is not public.")
    if isinstance(error, errors.RevisionNotFoundError):
        return CheckpointError(f"{address}: {server} has no such revision of {address.repo}.")
    if isinstance(error, errors.EntryNotFoundError):
        return CheckpointError(f"{address}: {server} has no such file in {address.repo}.")
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return CheckpointError(f"{address}: cannot be downloaded from {server}: {reason}. {_HINT}")


def _checked(path: Path, address: Address) -> Path:
    """The file if it is what the hub says; else it is removed. The client keeps it under its hash: its ETag."""
    blob = path.resolve()
    expected = blob.name
    if not _SHA256.fullmatch(expected) or (found := _sha256(blob)) == expected:
        return path
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)
    raise CheckpointError(
        f"{address}: damaged on its way: its sha256 is {found}, expected {expected}. It was removed: try again."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
