"""Known public traces: where they are, under which licence, and what the published file hashes to.

URLs are pinned to a commit or release where the publisher has one. Checksums: git-LFS pointers of the publishers (BurstGPT, Qwen
coder and thinking), else values that users of the published file state in their own repositories; None = not known well enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class Trace:
    """A published trace. ``format``: the reader's name; ``size_bytes``, ``sha256``, ``requests``: of the file, if known."""

    name: str
    about: str
    url: str
    format: str
    licence: str
    citation: str
    size_bytes: int | None = None
    sha256: str | None = None
    requests: int | None = None

    @property
    def file(self) -> str:
        """The published file's name."""
        return f"{self.name}.tar.gz" if self.format == "servegen" else self.url.rsplit("/", 1)[1]

    @property
    def stem(self) -> str:
        """The published file's name without endings."""
        return self.file.split(".", 1)[0]


def _published(
    format: str, licence: str, citation: str, base: str, *files: tuple[str, str, str, int | None, str | None, int | None]
) -> list[Trace]:
    return [
        Trace(name, about, f"{base}/{file}", format, licence, citation, size_bytes, sha256, requests)
        for name, about, file, size_bytes, sha256, requests in files
    ]


_GITHUB, _RAW, _LFS = "https://github.com", "https://raw.githubusercontent.com", "https://media.githubusercontent.com/media"
_AZURE = "Azure/AzurePublicDataset"

# fmt: off
_ALL = (
    *_published(
        "azure", "CC-BY-4.0", "Patel et al., Splitwise, ISCA 2024",
        f"{_RAW}/{_AZURE}/b469a113cedca53ddc3bdea71a143dc4b7d8700c/data",
        ("azure-2023-conv", "Azure conversations, 1 hour of 2023", "AzureLLMInferenceTrace_conv.csv",
         None, "2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8", 19_366),
        ("azure-2023-code", "Azure code completion, 1 hour of 2023", "AzureLLMInferenceTrace_code.csv",
         None, "54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6", 8_819),
    ),
    *_published(
        "azure", "CC-BY-4.0", "Stojkovic et al., DynamoLLM, HPCA 2025", f"{_GITHUB}/{_AZURE}/releases/download/dataset-llm-2024",
        ("azure-2024-conv", "Azure conversations, a week of 2024", "AzureLLMInferenceTrace_conv_1week.csv",
         1_135_195_393, "a0cc9b969a9bbf0fd811802cbf4323edd3a209ace791e3799ad4f9207f213941", 27_303_999),
        ("azure-2024-code", "Azure code completion, a week of 2024", "AzureLLMInferenceTrace_code_1week.csv",
         None, "71de5c55cbc35f8f1ed0b6b7806b4cd1e9764b0058469725a6aac98023a1448f", 16_803_695),
    ),
    *_published(
        "azure", "CC-BY-4.0", "Qiu et al., ModServe, SoCC 2025", f"{_RAW}/{_AZURE}/master/data",
        ("azure-2025-multimodal", "Azure multimodal, a week of 2024", "AzureLMMInferenceTrace_multimodal.csv.gz",
         None, None, 1_000_000),
    ),
    *_published(
        "burstgpt", "CC-BY-4.0", "Wang et al., BurstGPT, KDD 2025", f"{_GITHUB}/HPMLL/BurstGPT/releases/download/v2.0",
        ("burstgpt-1", "ChatGPT and GPT-4 of a campus, months 1 and 2", "BurstGPT_1.csv",
         52_283_111, "4bb3783693d0a435686fbfc885615d2349bd067239079fa4b749f2e679e12122", 1_429_737),
        ("burstgpt-2", "ChatGPT and GPT-4 of a campus, months 3 and 4", "BurstGPT_2.csv",
         144_819_209, "44bf5942b03fca42c01a226a545ad3a750ec62688faecd67b6831c56a8928bf7", None),
        ("burstgpt-3", "ChatGPT and GPT-4 of a campus, 110 days with sessions", "BurstGPT_3.csv",
         231_682_327, None, 5_344_021),
    ),
    *_published(
        "mooncake", "Apache-2.0", "Qin et al., Mooncake, USENIX FAST 2025",
        f"{_RAW}/kvcache-ai/Mooncake/3cca71daccf2a7afb8fe3f0295358f70e3a69fdb/FAST25-release/traces",
        ("mooncake-conversation", "Kimi conversations, 1 hour, prefix blocks", "conversation_trace.jsonl",
         None, "b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df", 12_031),
        ("mooncake-toolagent", "Kimi tools and agents, 1 hour, prefix blocks", "toolagent_trace.jsonl",
         None, "48a2db1a13d3bc05e6330140c64f604ba366df20d3c9e128b5c35a01c1fa5f71", 23_608),
        ("mooncake-synthetic", "Mooncake's synthetic mix, prefix blocks", "synthetic_trace.jsonl",
         1_136_313, None, 3_993),
    ),
    *_published(
        "mooncake", "Apache-2.0", "Wang et al., KVCache Cache in the Wild, USENIX ATC 2025",
        f"{_LFS}/alibaba-edu/qwen-bailian-usagetraces-anon/5f7439c51ec248a0c585f7d90a41a6f57773b912",
        ("qwen-bailian-a", "Qwen on Bailian, to consumers, 2 hours, prefix blocks", "qwen_traceA_blksz_16.jsonl",
         56_354_493, None, None),
        ("qwen-bailian-b", "Qwen on Bailian, to businesses, 2 hours, prefix blocks", "qwen_traceB_blksz_16.jsonl",
         96_209_982, "68e3f98e2d601d60d0abf4b89bc8a3654372abab7b1cde6373a13d0054379d59", 172_800),
        ("qwen-bailian-coder", "Qwen on Bailian, code, 2 hours, prefix blocks", "qwen_coder_blksz_16.jsonl",
         132_054_902, "3d74974cebb7bccb69b1ca6ea210a44d9a3033443c0271ed015327284dea1aff", None),
        ("qwen-bailian-thinking", "Qwen on Bailian, reasoning, 2 hours, prefix blocks", "qwen_thinking_blksz_16.jsonl",
         27_901_454, "41ac36d9d1b54d084eeb6b05e9d142ba9d02f8bf79cfc9fff418d8ab7cdee906", None),
    ),
    *_published(
        "servegen", "Apache-2.0", "Xiang et al., ServeGen, arXiv 2505.09999", "https://codeload.github.com/alibaba/ServeGen/tar.gz",
        ("servegen", "clients of 12 models on Bailian, processes not requests", "f891d1189eb32b3868dfc443800c4150548c282a",
         None, None, None),
    ),
)
# fmt: on

TRACES: Mapping[str, Trace] = {trace.name: trace for trace in _ALL}


def trace(name: str) -> Trace:
    """Raises InputError naming the nearest known name."""
    if name not in TRACES:
        near = get_close_matches(name, TRACES, 1)
        raise InputError(f"trace {name!r} is not known; {f'did you mean {near[0]}?' if near else 'known: ' + ', '.join(TRACES)}")
    return TRACES[name]


def match(file: str, sha256: str) -> Trace | None:
    """The published trace that a file is, by content, or appears to be cut from, by name (its name up to the first dot)."""
    stem = file.split(".", 1)[0]
    by_content = (known for known in _ALL if known.sha256 == sha256)
    return next(by_content, None) or next((known for known in _ALL if known.stem == stem), None)
