"""How many independent excursions a run holds: what a tail's percentile rests on, whatever the number of samples in it.

Samples beyond a p99 come in clusters, one per busy spell. How large clusters are cannot be told from a tail of a few of them, and a
run that saw only short ones would pass for one that may be trusted. It is therefore told from the upper quarter of all samples,
which has many clusters in any run whose p99 means something; in the tail they are rarely larger.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ENOUGH_EXCURSIONS = 8.0
"""Below that, intervals of p99s held in fewer than 92 % of synthetic queues (M/D/1, M/M/1), or had no upper end in most."""
_BULK = 0.75

Floats = NDArray[np.float64]


def independent_share(x: Floats, ordered: Floats) -> float:
    """Clusters per sample in the upper quarter of samples in time order; 1 = samples are independent. ``ordered``: them, sorted."""
    return extremal_index(np.flatnonzero(x > ordered[int(_BULK * (len(x) - 1))]))


def extremal_index(at: NDArray[np.int64]) -> float:
    """Clusters per event of events at ascending places (Ferro & Segers, JRSS B 65, 2003: the intervals estimator).

    Gaps between events are 0 within a cluster, and exponential between clusters: their first two moments tell how many are which.
    No cluster needs to be delimited.
    """
    gaps = np.diff(at).astype(np.float64)
    if not len(gaps):
        return 1.0
    if gaps.max() > 2:
        first, second = (gaps - 1).sum(), ((gaps - 1) * (gaps - 2)).sum()
    else:
        first, second = gaps.sum(), (gaps * gaps).sum()
    return float(min(1.0, 2 * first**2 / (len(gaps) * second)))
