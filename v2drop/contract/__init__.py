"""What every method promises, as checks on tiny models: for the tests of this package and of methods anywhere.

Imports all rooms of `v2drop`; no other room imports it.
"""

from v2drop.contract.checks import candidates_of
from v2drop.contract.promises import Promise, contract_of

__all__ = ["Promise", "candidates_of", "contract_of"]
