"""Which assumptions make the difference to the paper: one exchanged at a time.

    .venv/bin/python -m figures.adaserve.differences              # ``systems``: all systems in Llama-3.1-70B's Figure 8
    .venv/bin/python -m figures.adaserve.differences adaserve     # ``verification``: AdaServe in Figures 8, 10 and 11
    .venv/bin/python -m figures.adaserve.differences vllm-spec    # ``speculation``: vLLM-Spec in Figures 8, 10 and 11

One seed, the artifact's six minutes. Rows that no figure rests on explain, and reproduce nothing.
"""

SEEDS = (1,)
