"""A chosen deployment as what starts it: ``vllm serve`` commands, a Docker Compose file, Kubernetes manifests, or a scenario."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from policies.iserve.configuration import Configuration
from traces.errors import InputError
from traces.scenario import Scenario
from traces.scenario.fleet import Engine

KINDS = ("vllm", "compose", "kubernetes", "scenario")
PORT = 8000
IMAGE = "vllm/vllm-openai:v{version}.0"


def emitted(kind: str, configuration: Configuration, engines: int, scenario: Scenario, weights: str | None = None) -> str:
    """What starts so many engines of the configuration, with the scenario's knobs. ``weights``: the model as vLLM is to load it, a
    folder or a name; without it, the library's name of the model stands in, to be replaced.

    Raises:
        InputError: there is no such kind, or 4-bit weights are asked for without a checkpoint that has them.
    """
    check_kind(kind)
    if kind == "scenario":
        return _scenario(configuration, engines, scenario, weights)
    if configuration.precision in ("int4", "int8", "mxfp4") and weights is None:
        raise InputError(
            f"--emit: vLLM does not quantise to {configuration.precision} as it loads; name a checkpoint in it with --weights"
        )
    arguments = serve_arguments(configuration, scenario.engine, weights or configuration.model)
    if kind == "vllm":
        lines = [f"# {engines} engines: {configuration}"]
        for i in range(engines):
            first = i * configuration.gpus
            visible = ",".join(str(g) for g in range(first, first + configuration.gpus))
            command = shlex.join(["vllm", "serve", *arguments, "--port", str(PORT + i)])
            lines.append(f"CUDA_VISIBLE_DEVICES={visible} {command} &")
        return "\n".join([*lines, "wait", ""])
    import yaml

    image = IMAGE.format(version=scenario.engine.vllm_version)
    documents = (
        [_compose(configuration, engines, image, arguments)]
        if kind == "compose"
        else _kubernetes(configuration, engines, image, arguments)
    )
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)


def check_kind(kind: str) -> None:
    """Before something long.

    Raises:
        InputError: there is no such kind of output.
    """
    if kind not in KINDS:
        raise InputError(f"--emit {kind}: is no kind of output; choose from {', '.join(KINDS)}")


def _scenario(configuration: Configuration, engines: int, scenario: Scenario, weights: str | None) -> str:
    """The scenario on that deployment alone, with managed engines: what ``twinserve run`` simulates and ``replay`` starts."""
    import yaml

    data = scenario.resolved()
    for left_out in ("inventory", "interference", "intents", "sweep", "kv_transfer"):
        data.pop(left_out, None)
    data["fleet"] = {
        "gpu": configuration.gpu,
        "gpus": engines * configuration.gpus,
        "tensor_parallel": configuration.tensor_parallel,
        "pipeline_parallel": configuration.pipeline_parallel,
        "precision": configuration.precision,
        "kv_precision": configuration.kv_precision,
        **({"fingerprint": own} if (own := scenario.fleet.fingerprint) is not None else {}),
    }
    data["replay"] = {**data.get("replay", {}), "engines": "managed"}
    if weights is not None:
        data["replay"]["weights"] = weights
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def serve_arguments(configuration: Configuration, engine: Engine, weights: str) -> list[str]:
    """Arguments of ``vllm serve`` after the verb, the model first."""
    values: dict[str, Any] = {
        "tensor-parallel-size": configuration.tensor_parallel,
        "pipeline-parallel-size": configuration.pipeline_parallel,
        "max-num-seqs": engine.max_num_seqs,
        "max-num-batched-tokens": engine.max_num_batched_tokens,
        "gpu-memory-utilization": engine.gpu_memory_utilization,
        "block-size": engine.block_size,
    }
    if engine.max_model_len is not None:
        values["max-model-len"] = engine.max_model_len
    if engine.long_prefill_token_threshold:
        values["long-prefill-token-threshold"] = engine.long_prefill_token_threshold
    if configuration.precision.startswith("fp8"):
        values["quantization"] = "fp8"
    if configuration.kv_precision == "fp8":
        values["kv-cache-dtype"] = "fp8"
    flags = [
        "--enable-prefix-caching" if engine.enable_prefix_caching else "--no-enable-prefix-caching",
        "--enable-chunked-prefill" if engine.enable_chunked_prefill else "--no-enable-chunked-prefill",
    ]
    return [weights, *(word for name, value in values.items() for word in (f"--{name}", str(value))), *flags]


def _name(configuration: Configuration) -> str:
    return configuration.model.replace(".", "-").lower()


def _compose(configuration: Configuration, engines: int, image: str, arguments: Sequence[str]) -> dict[str, Any]:
    services = {}
    for i in range(engines):
        first = i * configuration.gpus
        ids = [str(g) for g in range(first, first + configuration.gpus)]
        services[f"{_name(configuration)}-{i}"] = {
            "image": image,
            "command": list(arguments),
            "ports": [f"{PORT + i}:{PORT}"],
            "ipc": "host",
            "deploy": {
                "resources": {"reservations": {"devices": [{"driver": "nvidia", "device_ids": ids, "capabilities": ["gpu"]}]}}
            },
            "healthcheck": {"test": ["CMD", "curl", "-f", f"http://localhost:{PORT}/health"], "start_period": "10m"},
        }
    return {"name": _name(configuration), "services": services}


def _kubernetes(configuration: Configuration, engines: int, image: str, arguments: Sequence[str]) -> list[dict[str, Any]]:
    name, labels = _name(configuration), {"app": _name(configuration)}
    probe = {"httpGet": {"path": "/health", "port": PORT}}
    container = {
        "name": "vllm",
        "image": image,
        "args": [*arguments],
        "ports": [{"containerPort": PORT}],
        "resources": {"limits": {"nvidia.com/gpu": configuration.gpus}},
        "readinessProbe": {**probe, "periodSeconds": 5},
        "startupProbe": {**probe, "periodSeconds": 10, "failureThreshold": 60},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # tensor-parallel ranks talk through it
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {
            "replicas": engines,
            "selector": {"matchLabels": dict(labels)},
            "template": {
                "metadata": {"labels": dict(labels)},
                "spec": {"containers": [container], "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}]},
            },
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {"selector": dict(labels), "ports": [{"port": PORT, "targetPort": PORT}]},
    }
    return [deployment, service]
