"""Import of external weights as runs: Garg's checkpoints (`garg`), any state dict with a mapping (`plain`)."""
