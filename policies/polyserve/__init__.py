"""PolyServe: requests of many latency objectives on one fleet, binned by TPOT (arXiv 2507.17769)."""
