"""The embedded backbones: small pretrained models that ship with the package."""

from __future__ import annotations

from pathlib import Path

ZOO_FOLDER = Path(__file__).parent


def embedded_names() -> list[str]:
    """Names of the backbones that ship with this package, sorted."""
    return sorted(p.parent.name for p in ZOO_FOLDER.glob("*/config.json"))


def embedded_folder(name: str) -> Path | None:
    """Folder of an embedded backbone, or None if no backbone has this name."""
    folder = ZOO_FOLDER / name
    return folder if name in embedded_names() else None
