"""What must be installed to unpack GGUF files."""

from __future__ import annotations

from importlib.util import find_spec

from promptport.errors import BackboneError

EXTRA = "pip install 'promptport[gguf]'"
_PACKAGES = ("gguf", "accelerate")


def check_package(name: str) -> None:
    """Refuse if a package of the extra is missing.

    Args:
        name: of the backbone, for the message.

    Raises:
        BackboneError: it is.
    """
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise BackboneError(
            name,
            expected="the packages that open GGUF files",
            got=f"no {' and no '.join(missing)}",
            fix=f"Install them: {EXTRA}",
        )
