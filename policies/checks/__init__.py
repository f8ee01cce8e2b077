"""The checks of the conformance kit, one idea per file; ``policies.check`` runs them."""
