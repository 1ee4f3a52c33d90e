"""Weights from elsewhere made into runs: Garg's checkpoints (`garg`), any state dict with a mapping (`plain`)."""
