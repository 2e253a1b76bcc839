"""The masked-attention oracle of the contract (`v2drop.contract.oracle`), which many tests compare with."""

from v2drop.contract.oracle import decoder_of, grown, masks, oracle_logits, oracle_run, positions_of

__all__ = ["decoder_of", "grown", "masks", "oracle_logits", "oracle_run", "positions_of"]
