"""Sweeps: which runs (plan), on which workers (engine), and their results as one table (results)."""
