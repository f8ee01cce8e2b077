"""Imported by the process from which trials on real engines are forked: all that they have in common."""

from contextlib import suppress

from replay.run import prepare_environment

prepare_environment()
with suppress(ImportError):  # managed servers import vLLM themselves, in this environment or not at all
    import replay.vllm_inprocess  # noqa: F401
