"""The other process of the determinism check: a subject comes in on stdin, its answers to all stories go out on stdout."""

from __future__ import annotations

import json
import pickle
import sys

from traces.conformance.determinism import answers

if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # what the policy prints is no answer
    json.dump(answers(pickle.load(sys.stdin.buffer)), out)
