"""Asks AIConfigurator about rows, in its own environment: ``PYTHON aiconfigurator_driver.py < rows.jsonl > answers.jsonl``.

A row is the keyword arguments of ``aiconfigurator.cli.api.cli_estimate`` (0.12); an answer holds ``ttft_s`` and ``tpot_s``, or
``error``. This file is run by that environment's interpreter and imports nothing of this package.
"""

import json
import logging
import sys
import warnings


def main() -> None:
    """Answer every line of stdin with one on stdout."""
    from aiconfigurator.cli.api import cli_estimate  # type: ignore[import-not-found]

    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        try:
            found = cli_estimate(**json.loads(line))
            answer: dict[str, object] = {"ttft_s": float(found.ttft) * 1e-3, "tpot_s": float(found.tpot) * 1e-3}
        except Exception as error:  # whatever it refuses counts as no answer
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    main()
