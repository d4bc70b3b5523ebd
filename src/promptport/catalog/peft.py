"""What the configuration of a PEFT adapter and the header of its weights must say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from promptport.catalog.layout import CONFIG_FILE, PROMPT_KEY
from promptport.errors import FileFormatError
from promptport.provenance import Provenance

_SHOWN = 60  # characters of a wrong value
_HEADS = ("classifier", "score.", "qa_outputs")  # of models that do not answer in words
_RESTORE = "Restore the file from its source"
_GIVE = "Give the folder of a prompt-tuning adapter"
_FINISH = "Save the adapter with PEFT's save_pretrained, which stores the finished rows"

# P-tuning learns its rows through a prompt encoder, but PEFT's save_pretrained stores the finished
# rows under the same name as prompt tuning, and runs them alike.
_WITH_ROWS = ("PROMPT_TUNING", "P_TUNING")

# PEFT has no masked-LM type; feature extraction on a *ForMaskedLM is the one that works.
TASK_TYPES = {"masked": "FEATURE_EXTRACTION", "causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}
_KINDS = {task_type: kind for kind, task_type in TASK_TYPES.items()}


class TensorShape(NamedTuple):
    """A tensor without its values.

    Attributes:
        dtype: as torch calls it: `torch.float32`.
        shape: of every dimension.
    """

    dtype: str
    shape: tuple[int, ...]


def checked_length(config: dict[str, Any], place: Path) -> int:
    """The number of virtual tokens of an adapter of prompt tuning or P-tuning.

    Raises:
        FileFormatError: another kind of adapter, or no number.
    """
    where = str(place / CONFIG_FILE)
    kind = config.get("peft_type")
    if kind not in _WITH_ROWS:
        expected = f"peft_type {' or '.join(_WITH_ROWS)}"
        raise FileFormatError(where, expected=expected, got=repr(kind), fix=_GIVE)
    length = config.get("num_virtual_tokens")
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise FileFormatError(
            where,
            expected="num_virtual_tokens >= 1",
            got=repr(length),
            fix="Restore the file from its source",
        )
    return length


def check_rows(
    path: Path, tensors: Mapping[str, TensorShape], length: int, config: Mapping[str, Any]
) -> int:
    """Check the tensors of an adapter against its configuration.

    Args:
        path: of the file, for errors.
        tensors: all that it has, by name.
        length: number of virtual tokens.
        config: of the adapter.

    Returns:
        The width of a row.

    Raises:
        FileFormatError: a head beside the rows, no rows, or others than the configuration says.
    """
    rows = tensors.get(PROMPT_KEY)
    if rows is None:
        raise FileFormatError(
            str(path),
            expected=f"a tensor {PROMPT_KEY!r}",
            got=", ".join(sorted(tensors)) or "none",
            fix=_GIVE if config.get("peft_type") != "P_TUNING" else _FINISH,
        )
    width = config.get("token_dim")
    if heads := [name for name in tensors if any(part in name for part in _HEADS)]:
        raise FileFormatError(
            str(path),
            expected="a prompt that was tuned without a head of its own",
            got=f"a trained head, {heads[0]}",
            fix="Tune it on the task's label words, or remove the head if it is not needed",
        )
    submodules = config.get("num_transformer_submodules")
    submodules = submodules or (2 if config.get("task_type") == "SEQ_2_SEQ_LM" else 1)
    if not isinstance(submodules, int):
        raise FileFormatError(
            str(path.parent / CONFIG_FILE),
            expected="num_transformer_submodules 1 or 2",
            got=repr(submodules)[:_SHOWN],
            fix=_RESTORE,
        )
    counts = sorted({length, length * submodules})  # of two parts the second reaches no model
    fits = len(rows.shape) == 2 and rows.shape[0] in counts and width in (None, rows.shape[1])
    if not fits or "float" not in rows.dtype:
        said = " or ".join(map(str, counts))
        raise FileFormatError(
            str(path),
            expected=f"floating-point rows ({said}, {width or 'd'}) as in {CONFIG_FILE}",
            got=f"{rows.dtype} {rows.shape}",
            fix="Restore both files from the same source",
        )
    return rows.shape[1]


def provenance_from_peft(config: dict[str, Any], place: Path) -> Provenance:
    """What a configuration tells of where a prompt comes from.

    Raises:
        FileFormatError: it names no model.
    """
    backbone = config.get("base_model_name_or_path")
    if not isinstance(backbone, str) or not backbone:
        raise FileFormatError(
            str(place / CONFIG_FILE),
            expected="base_model_name_or_path",
            got=repr(backbone),
            fix="Add the id of the model that the prompt was tuned on",
        )
    origin = None
    if config.get("prompt_tuning_init") == "TEXT":
        origin = _text_origin(config, backbone)
    return Provenance(
        backbone=backbone,
        kind=_KINDS.get(str(config.get("task_type"))),
        revision=config.get("revision"),
        origin=origin,
    )


def _text_origin(config: dict[str, Any], backbone: str) -> dict[str, Any] | None:
    """How PEFT made an origin of a text, for `with_origin`; None if it is unclear."""
    text = config.get("prompt_tuning_init_text")
    tokenizer = config.get("tokenizer_name_or_path") or backbone
    options = config.get("tokenizer_kwargs") or {}
    clear = isinstance(text, str) and isinstance(tokenizer, str) and isinstance(options, dict)
    if not clear:
        return None
    more = {"tokenizer_kwargs": options} if options else {}
    return {"kind": "text", "text": text, "tokenizer": tokenizer, **more}
