"""The version of training: raise `BITS` when the same settings come to give other weights.

Ledgers of studies carry it (`interp.studies.fingerprint`); a stored ledger of an older version is stale until its study
is run again.
"""

BITS = 1
