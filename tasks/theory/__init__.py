"""Closed-form theory of the tasks: one module per theory, each reproduced exactly in a test."""
