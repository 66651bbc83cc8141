"""Long tests by attack: kills, bad files, memory; python -m torture."""
