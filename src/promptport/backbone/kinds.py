"""Masked, causal or seq2seq: told from a configuration; the transformers class of each."""

from __future__ import annotations

from typing import Any, Literal, cast

from promptport.errors import BackboneError

Kind = Literal["masked", "causal", "seq2seq"]
KINDS: tuple[Kind, ...] = ("masked", "causal", "seq2seq")


def detect_kind(config: Any, name: str) -> Kind:
    """Masked, causal or seq2seq, from the configuration alone.

    The class that wrote the checkpoint decides; without one, the classes that transformers offers
    for this architecture do.

    Raises:
        BackboneError: the architecture has no language-model head.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    if getattr(config, "is_encoder_decoder", False):
        return "seq2seq"
    for architecture in getattr(config, "architectures", None) or ():
        if architecture.endswith(("ForMaskedLM", "ForPreTraining")):
            return "masked"
        if architecture.endswith(("ForCausalLM", "LMHeadModel")):
            return "causal"
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        return "masked"
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return "causal"
    own = getattr(config, "auto_map", None) or {}  # classes that come with the model
    for auto, kind in (("AutoModelForMaskedLM", "masked"), ("AutoModelForCausalLM", "causal")):
        if auto in own:
            return cast(Kind, kind)
    raise BackboneError(
        name,
        expected="a masked, causal or sequence-to-sequence language model",
        got=str(getattr(config, "model_type", "an unknown architecture")),
        fix="Name a checkpoint with a language-model head",
    )


def text_config(config: Any) -> Any:
    """The part of a configuration that describes the text model, of models of images and text."""
    return getattr(config, "text_config", None) or config


def model_class(kind: Kind) -> Any:
    """The transformers auto class of a kind."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    return {
        "masked": AutoModelForMaskedLM,
        "causal": AutoModelForCausalLM,
        "seq2seq": AutoModelForSeq2SeqLM,
    }[kind]
