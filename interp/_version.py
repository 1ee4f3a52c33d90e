"""The version of the package, and that of training, in a module that imports nothing.

Raise `BITS` when the same settings come to give other weights. A run keeps the one it was begun under and goes on with
it (`interp.runs.header`, `interp.train.loop`); ledgers of studies carry it, and one of an older version is stale.

1: as in 0.1 and 0.2. 2: short attention rows are padded, Muon's matrices are orthogonalised in stacks.
"""

__version__ = "0.3.0"
BITS = 2
