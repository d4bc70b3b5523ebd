"""The only room that knows transformers: masked, causal and seq2seq models behind one door."""

from promptport.backbone.answers import answer_tokens
from promptport.backbone.at_hand import WeightsAtHand, weights_at_hand
from promptport.backbone.baking import Baked, bake_tokens, open_layout
from promptport.backbone.checkpoint import open_space, table_names
from promptport.backbone.describe import describe_backbone, rowless_warnings
from promptport.backbone.encoded import EncodedRow, Outline
from promptport.backbone.gguf import append_tokens, read_header, read_table
from promptport.backbone.kept_texts import KeptTexts
from promptport.backbone.kinds import Kind
from promptport.backbone.layout import Layout
from promptport.backbone.loading import find_checkpoint, silence_libraries
from promptport.backbone.model import Backbone, check_prompt
from promptport.backbone.opening import BackboneLike, SpaceLike, as_backbone, as_space
from promptport.backbone.texts import origin_is_text, text_ids, with_origin

__all__ = [
    "Backbone",
    "BackboneLike",
    "Baked",
    "EncodedRow",
    "KeptTexts",
    "Kind",
    "Layout",
    "Outline",
    "SpaceLike",
    "WeightsAtHand",
    "answer_tokens",
    "append_tokens",
    "as_backbone",
    "as_space",
    "bake_tokens",
    "check_prompt",
    "describe_backbone",
    "find_checkpoint",
    "open_layout",
    "open_space",
    "origin_is_text",
    "read_header",
    "read_table",
    "rowless_warnings",
    "silence_libraries",
    "table_names",
    "text_ids",
    "weights_at_hand",
    "with_origin",
]
