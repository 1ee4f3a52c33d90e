"""Many runs at once: which ones (plan), on which workers (engine), and their results as one table (results)."""
