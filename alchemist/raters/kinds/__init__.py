"""Raters, one file a kind: the class of its blocks in `raters:`, and the function that rates.

They load nothing heavy until they rate, since every stage that reads a block of `raters:` reads this folder.
`alchemist.raters.table` names them all.
"""
