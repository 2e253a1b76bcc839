"""Shapes of the tensors that travel between modules; checked at run time in the tests only (jaxtyping)."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Hidden = Float[Tensor, "batch vision dim"]  # states of vision tokens, padded at the end of a row
Scores = Float[Tensor, "batch vision"]  # higher is kept
Indices = Int[Tensor, "batch vision"]  # how many vision tokens of the prompt come before this one
Valid = Bool[Tensor, "batch vision"]  # False where a row is padded
Columns = Int[Tensor, "batch column"]  # positions in the sequence
Flags = Bool[Tensor, "batch column"]
States = Float[Tensor, "batch column dim"]  # of every column, text too
Survivors = Float[Tensor, "batch left dim"]  # states after a drop
Attention = Float[Tensor, "batch heads queries vision"]  # weights of some queries on the candidates
Angles = tuple[Float[Tensor, "_ column angle"], Float[Tensor, "_ column angle"]]  # cosines and sines of position ids
Queries = Int[Tensor, "batch queries"]  # columns that attend
