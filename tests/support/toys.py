"""The tiny models and batches of the contract (`v2drop.contract.toys`), which all tests use."""

from v2drop.contract.toys import FAMILIES, IMAGE_ID, IMAGE_TOKENS, LAYERS, TEXT, VOCABULARY, WIDTH, Batch, batch, toy

__all__ = ["FAMILIES", "IMAGE_ID", "IMAGE_TOKENS", "LAYERS", "TEXT", "VOCABULARY", "WIDTH", "Batch", "batch", "toy"]
