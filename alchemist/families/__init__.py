"""Families of models, a folder each: `family.py` and `settings.py` are looked up by its name."""
