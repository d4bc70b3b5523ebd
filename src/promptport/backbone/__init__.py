"""The only room that knows transformers: masked, causal and seq2seq models behind one door."""

from promptport.backbone.answers import answer_tokens
from promptport.backbone.at_hand import WeightsAtHand, weights_at_hand
from promptport.backbone.checkpoint import open_space
from promptport.backbone.describe import describe_backbone, rowless_warnings
from promptport.backbone.kept_texts import KeptTexts
from promptport.backbone.kinds import Kind
from promptport.backbone.layout import EncodedRow, Layout
from promptport.backbone.loading import find_checkpoint, silence_libraries
from promptport.backbone.model import Backbone, check_prompt
from promptport.backbone.opening import BackboneLike, SpaceLike, as_backbone, as_space
from promptport.backbone.texts import origin_is_text, text_ids, with_origin

__all__ = [
    "Backbone",
    "BackboneLike",
    "EncodedRow",
    "KeptTexts",
    "Kind",
    "Layout",
    "SpaceLike",
    "WeightsAtHand",
    "answer_tokens",
    "as_backbone",
    "as_space",
    "check_prompt",
    "describe_backbone",
    "find_checkpoint",
    "open_space",
    "origin_is_text",
    "rowless_warnings",
    "silence_libraries",
    "text_ids",
    "weights_at_hand",
    "with_origin",
]
