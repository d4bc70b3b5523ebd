"""Transfer: move a soft prompt from one frozen backbone to another by their embedding tables."""

from promptport.transfers.config import TransferConfig
from promptport.transfers.decoding import TransferResult
from promptport.transfers.engine import encode_prompt, transfer
from promptport.transfers.magnitude import MAGNITUDES, find_magnitude
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import (
    TransferMethod,
    find_method,
    list_methods,
    transfer_method,
)
from promptport.transfers.report import TransferReport
from promptport.transfers.sources import Source
from promptport.transfers.vectors import transfer_vector, transfer_word_vector

__all__ = [
    "MAGNITUDES",
    "Source",
    "TransferConfig",
    "TransferMethod",
    "TransferProblem",
    "TransferReport",
    "TransferResult",
    "encode_prompt",
    "find_magnitude",
    "find_method",
    "list_methods",
    "transfer",
    "transfer_method",
    "transfer_vector",
    "transfer_word_vector",
]
