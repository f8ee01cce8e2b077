"""The conformance kit for policies, one idea per file: ``examination`` runs the checks, ``scaffold`` writes a policy that passes.

It stands outside ``policies/``, which is pure, because it sets traps on clocks, files and randomness, measures time and starts
processes; and below both worlds, so that either can examine a policy before it lets it decide.
"""

from __future__ import annotations

from traces.conformance.examination import Examination, Finding, Level, check, examine

__all__ = ["Examination", "Finding", "Level", "check", "examine"]
