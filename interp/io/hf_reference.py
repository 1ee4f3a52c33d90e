"""Location of a Hugging Face model's files, and verification that they are those a run was measured on.

A run of such a model holds no weights. In place of each checkpoint it keeps a reference: the model's name (or folder),
the revision, and the SHA-256 of every file that loading reads. A local folder holds one revision, or one subfolder a
revision (`step1000`, ...). Nothing is fetched for a folder; a name on the hub is fetched once into its own cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from jaxtyping import UInt8
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from tasks.errors import UserError

REFERENCE = "reference"
NEEDED = ("config.json",)
_WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json")
_PATTERNS = ["*.json", "*.safetensors", "tokenizer*", "*.model", "merges.txt", "vocab.txt"]


class Reference(BaseModel):
    """The files that stand for the weights of one checkpoint; `files` maps their names to SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    revision: str
    files: dict[str, str]

    @classmethod
    def of(cls, source: str, revision: str) -> Reference:
        """A reference to what is there now. Raises UserError when it is not, or is no model."""
        folder = locate(source, revision)
        return cls(source=source, revision=revision, files={f.name: _sha256(f) for f in read_files(folder)})

    @classmethod
    def unpack(cls, weights: Mapping[str, Tensor], where: str) -> Reference:
        """The reference in a checkpoint. Raises UserError when it holds none."""
        try:
            return cls.model_validate(json.loads(bytes(weights[REFERENCE].tolist())))
        except (KeyError, TypeError, ValueError, ValidationError):
            raise UserError(f"{where}: holds no reference to a model's files") from None

    def pack(self) -> dict[str, UInt8[Tensor, "byte"]]:
        """The reference as what a checkpoint file holds: canonical JSON, byte by byte."""
        text = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return {REFERENCE: torch.tensor(list(text.encode()), dtype=torch.uint8)}

    def folder(self) -> Path:
        """Where the files are. Raises UserError when they are gone."""
        if _is_local(self.source) and not Path(self.source).is_dir():
            raise UserError(
                f"{self.source}: no such folder; the model's files are referred to, not copied: put them back"
            )
        return locate(self.source, self.revision)

    def check(self) -> None:
        """Read every byte. Raises UserError for a file that is missing, altered, or new among those that are read."""
        folder = self.folder()
        there = {file.name: file for file in read_files(folder)}
        for name in sorted(set(there) ^ set(self.files)):
            state = "missing" if name in self.files else "new since the import"
            raise UserError(f"{folder / name}: {state}; the run refers to the files of its import")
        for name, file in there.items():
            if _sha256(file) != self.files[name]:
                raise UserError(f"{file}: altered since the import (hash differs); import it again")


def read_files(folder: Path) -> list[Path]:
    """The files that decide a model's numbers: its configuration and weights, in order of name."""
    found = [file for file in sorted(folder.iterdir()) if file.name in NEEDED or file.name.endswith(_WEIGHTS)]
    safe = any(file.name.endswith(".safetensors") for file in found)
    kept = [file for file in found if not (safe and ".bin" in file.name)]  # safetensors are what is loaded
    if not any(file.name.endswith(_WEIGHTS) for file in kept):
        raise UserError(f"{folder}: holds no weights (model.safetensors)")
    return kept


def locate(source: str, revision: str) -> Path:
    """The folder with the files of a revision. Raises UserError when there is no such model, revision or network."""
    local = Path(source)
    if local.is_dir():
        folder = local / revision if revision else local
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: no model there (no config.json){_instead(local, revision)}")
        return folder
    if _is_local(source):
        what = "is a file, not a folder" if local.exists() else "no such folder"
        raise UserError(f"{source}: {what}; give one that holds a saved model, or a name on the hub")
    return _from_hub(source, revision)


def _is_local(source: str) -> bool:
    """Whether a source can only be a folder: a name on the hub starts neither with a slash nor with a dot."""
    return Path(source).is_absolute() or source.startswith(".")


def revisions_in(folder: Path) -> list[str]:
    """Names of the subfolders that hold a model."""
    return sorted(entry.parent.name for entry in folder.glob("*/config.json"))


def _instead(folder: Path, revision: str) -> str:
    known = revisions_in(folder)
    if not known:
        return "; save one with model.save_pretrained and tokenizer.save_pretrained"
    return f"; revisions there: {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}"


def _from_hub(name: str, revision: str) -> Path:
    """The hub's snapshot of a revision: from its cache, or fetched now."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, FileNotFoundError):
        return _fetched(name, revision)
    except ValueError:  # HFValidationError: not the form of a hub name
        raise UserError(f"{name}: neither a folder nor the name of a model on the hub") from None


def _fetched(name: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    transport = cast(
        type[Exception], HfHubHTTPError.__bases__[0]
    )  # of whichever HTTP library the hub's client speaks through
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=_PATTERNS))
    except RevisionNotFoundError:
        raise UserError(f"{name}: has no revision {revision!r}; its page on the hub lists them") from None
    except GatedRepoError:
        raise UserError(f"{name}: access to it must be asked for on the hub first") from None
    except RepositoryNotFoundError:
        raise UserError(f"{name}: the hub has no such model, and there is no such folder") from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, transport, OSError):
        raise UserError(
            f"{name}: not in the cache, and the hub cannot be reached; where there is a network, save the model into a "
            "folder (model.save_pretrained, tokenizer.save_pretrained) and give that folder"
        ) from None


def _sha256(file: Path) -> str:
    try:
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
