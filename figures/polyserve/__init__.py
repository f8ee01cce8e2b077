"""PolyServe's figures (arXiv 2507.17769, §5), one file each. The paper's curves are known in words and headlines only."""

PAPER = "PolyServe, arXiv 2507.17769"
SECONDARY = (
    "the paper's number is taken from secondary sources; its optimum, its baselines' batching and its lengths are not recovered"
)
