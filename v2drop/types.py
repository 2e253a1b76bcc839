"""Shapes of the tensors that travel between modules; checked at run time in the tests only (jaxtyping).

Three axes recur: `batch`, one entry per row; `column`, one per position of the sequence (text, vision and padding);
`vision`, one per candidate, a vision token that may be dropped.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Hidden = Float[Tensor, "batch vision dim"]  # hidden states of vision tokens, rows padded at the end
Scores = Float[Tensor, "batch vision"]  # scores of vision tokens; higher is kept
Indices = Int[Tensor, "batch vision"]  # an index for each vision token; its docstring says of what
Valid = Bool[Tensor, "batch vision"]  # flags of vision tokens, or False in padding
Columns = Int[Tensor, "batch column"]  # positions in the sequence
Flags = Bool[Tensor, "batch column"]  # flags of columns
States = Float[Tensor, "batch column dim"]  # hidden states of all columns, text included
Survivors = Float[Tensor, "batch left dim"]  # hidden states of the columns that survive a drop
Attention = Float[Tensor, "batch heads queries vision"]  # attention weights of some queries on vision tokens
Angles = tuple[Float[Tensor, "_ column angle"], Float[Tensor, "_ column angle"]]  # cosines and sines of rotary angles
StartAngles = tuple[Float[Tensor, "_ 1 angle"], Float[Tensor, "_ 1 angle"]]  # those at each row's first token
Queries = Int[Tensor, "batch queries"]  # columns whose queries are used
