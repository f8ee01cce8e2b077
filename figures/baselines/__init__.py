"""Figures of policies that everyone has, one file each.

``SECONDARY`` and the like are what a reader of a reproduction table must know of how its rows came about.
"""

SECONDARY = "the claim is taken from secondary sources, not read in the paper"
SETTINGS_AFTER = "rates, duration and the search's bracket were changed after a first look at the data"
AFTER = "row written after a first look at the data"
