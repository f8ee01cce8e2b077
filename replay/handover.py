"""How KV gets from prefill to decode engines: vLLM's KV connectors, and what each wants to be told of a request.

On a CPU it goes through files in a folder that all engines of the host share (``replay.vllm_connector``, vLLM's ExampleConnector
without its gaps); on GPUs over the network by NIXL. The prefill engine's token is the user's first. ExampleConnector takes it as
the end of the decode engine's prompt. With NIXL the decode engine gets the prompt alone and computes the token once more, as behind
vLLM's own proxies (``tests/v1/kv_connector/nixl_integration/toy_proxy_server.py``); it is then left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policies.types import Role
from traces.errors import InputError
from traces.scenario.pools import EnginePool

NIXL_PORT = 5600
"""vLLM's own default for NIXL's side channel; the number of the engine's first GPU is added."""
_ROLES = {Role.PREFILL: "kv_producer", Role.DECODE: "kv_consumer"}
_ASKED: Mapping[str, Any] = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
"""What NIXL's prefill side is told with a request."""


def kv_transfer_config(pool: EnginePool, folder: Path, *, on_cpu: bool) -> Mapping[str, Any]:
    """vLLM's ``--kv-transfer-config`` of a pool with a role. ``folder``: shared by all engines of the run.

    Raises:
        InputError: a knob that does not go together with the connector.
    """
    if not on_cpu:
        return {"kv_connector": "NixlConnector", "kv_role": "kv_both", "kv_load_failure_policy": "fail"}
    if pool.gpus_per_engine > 1:
        raise InputError(f"fleet: pool {pool.name}: on a CPU an engine that hands KV over has one process; use one GPU per engine")
    return {
        "kv_connector": "FolderConnector",
        "kv_connector_module_path": "replay.vllm_connector",
        "kv_role": _ROLES[pool.role],
        "kv_connector_extra_config": {"shared_storage_path": str(folder / "kv")},
    }


def prefill_params(*, on_cpu: bool) -> Mapping[str, Any] | None:
    """``kv_transfer_params`` of a request that is sent to a prefill engine."""
    return None if on_cpu else _ASKED
