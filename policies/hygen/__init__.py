"""HyGen: offline work in the room that online requests leave within their latency objectives (arXiv 2501.14808, NeurIPS '25)."""
