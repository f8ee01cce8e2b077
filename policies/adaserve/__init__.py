"""AdaServe: speculation as much as each request's TPOT objective needs, the rest of the budget for throughput (arXiv 2501.12162).

One iteration has four steps. The drafter grows a candidate tree per request by beam search (``tree``), as deep and wide as the load
allows (``shape``); requests behind schedule are given the draft tokens that bring them back on it, and what is left of the
verification budget goes to the draft tokens most likely to be accepted, whosesoever they are (``selection``); the engine verifies.
``optimal`` is the paper's Algorithm 1, which knows the true probabilities: the yardstick of the tests.
"""
