"""Mappings of weights that come with the package, a TOML file each."""
