"""HyGen's figures: online and offline work on the same engines (arXiv 2501.14808), regenerated in the simulator."""

PAPER = "Sun et al., HyGen, NeurIPS '25, arXiv 2501.14808"
SECOND_HAND = "the paper's figures' values are not published; the headline is"
