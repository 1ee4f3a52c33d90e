"""Layouts: turning somebody else's module into a hooked one, by names of its parts and the kernels that it calls."""
