"""The models of the library, from their published configurations."""

from __future__ import annotations

from collections.abc import Mapping

from traces.hardware.shapes import Experts, Latent, ModelShape

_LLAMA3 = "config.json of meta-llama/Llama-3.1-{}; The Llama 3 Herd of Models (arXiv 2407.21783), table 3"
_LLAMA32 = "config.json of meta-llama/Llama-3.2-{}"
_LLAMA2 = "config.json of meta-llama/Llama-2-{}-hf; Llama 2 (arXiv 2307.09288)"
_QWEN25 = "config.json of Qwen/Qwen2.5-{}; Qwen2.5 technical report (arXiv 2412.15115), table 1"
_QWEN3 = "config.json of Qwen/Qwen3-{}; Qwen3 technical report (arXiv 2505.09388), tables 1 and 2"
_MIXTRAL = "config.json of mistralai/Mixtral-{}-v0.1; Mixtral of Experts (arXiv 2401.04088)"
_GPT_OSS = "config.json of openai/gpt-oss-{}; gpt-oss model card (arXiv 2508.10925)"
_DEEPSEEK = "config.json of deepseek-ai/DeepSeek-V3; DeepSeek-V3 technical report (arXiv 2412.19437)"
_KIMI = "config.json of moonshotai/Kimi-K2-Instruct; Kimi K2 (arXiv 2507.20534)"
_MINIMAX = "config.json of MiniMaxAI/MiniMax-M2"
_MLA = Latent(1536, 512, 128, 64, 128)

MODELS: Mapping[str, ModelShape] = {
    m.name: m
    for m in (
        ModelShape("llama-3.1-8b", 32, 4096, 14336, 32, 8, 128, 128256, 131072, _LLAMA3.format("8B")),
        ModelShape("llama-3.1-70b", 80, 8192, 28672, 64, 8, 128, 128256, 131072, _LLAMA3.format("70B")),
        ModelShape("llama-3.1-405b", 126, 16384, 53248, 128, 8, 128, 128256, 131072, _LLAMA3.format("405B")),
        ModelShape("llama-3.2-1b", 16, 2048, 8192, 32, 8, 64, 128256, 131072, _LLAMA32.format("1B"), tied=True),
        ModelShape("llama-3.2-3b", 28, 3072, 8192, 24, 8, 128, 128256, 131072, _LLAMA32.format("3B"), tied=True),
        ModelShape("llama-2-7b", 32, 4096, 11008, 32, 32, 128, 32000, 4096, _LLAMA2.format("7b")),
        ModelShape("llama-2-13b", 40, 5120, 13824, 40, 40, 128, 32000, 4096, _LLAMA2.format("13b")),
        ModelShape("llama-2-70b", 80, 8192, 28672, 64, 8, 128, 32000, 4096, _LLAMA2.format("70b")),
        ModelShape("qwen2.5-0.5b", 24, 896, 4864, 14, 2, 64, 151936, 32768, _QWEN25.format("0.5B"), tied=True),
        ModelShape("qwen2.5-7b", 28, 3584, 18944, 28, 4, 128, 152064, 131072, _QWEN25.format("7B")),
        ModelShape("qwen2.5-14b", 48, 5120, 13824, 40, 8, 128, 152064, 131072, _QWEN25.format("14B")),
        ModelShape("qwen2.5-32b", 64, 5120, 27648, 40, 8, 128, 152064, 131072, _QWEN25.format("32B")),
        ModelShape("qwen2.5-72b", 80, 8192, 29568, 64, 8, 128, 152064, 131072, _QWEN25.format("72B")),
        ModelShape("qwen3-0.6b", 28, 1024, 3072, 16, 8, 128, 151936, 40960, _QWEN3.format("0.6B"), tied=True),
        ModelShape("qwen3-1.7b", 28, 2048, 6144, 16, 8, 128, 151936, 40960, _QWEN3.format("1.7B"), tied=True),
        ModelShape("qwen3-4b", 36, 2560, 9728, 32, 8, 128, 151936, 40960, _QWEN3.format("4B"), tied=True),
        ModelShape("qwen3-8b", 36, 4096, 12288, 32, 8, 128, 151936, 40960, _QWEN3.format("8B")),
        ModelShape("qwen3-14b", 40, 5120, 17408, 40, 8, 128, 151936, 40960, _QWEN3.format("14B")),
        ModelShape("qwen3-32b", 64, 5120, 25600, 64, 8, 128, 151936, 40960, _QWEN3.format("32B")),
        ModelShape("qwen3-30b-a3b", 48, 2048, 6144, 32, 4, 128, 151936, 40960, _QWEN3.format("30B-A3B"),
                   experts=Experts(128, 8, 768)),
        ModelShape("qwen3-235b-a22b", 94, 4096, 12288, 64, 4, 128, 151936, 40960, _QWEN3.format("235B-A22B"),
                   experts=Experts(128, 8, 1536)),
        ModelShape("mixtral-8x7b", 32, 4096, 14336, 32, 8, 128, 32000, 32768, _MIXTRAL.format("8x7B"),
                   experts=Experts(8, 2, 14336)),
        ModelShape("mixtral-8x22b", 56, 6144, 16384, 48, 8, 128, 32768, 65536, _MIXTRAL.format("8x22B"),
                   experts=Experts(8, 2, 16384)),
        ModelShape("gpt-oss-20b", 24, 2880, 2880, 64, 8, 64, 201088, 131072, _GPT_OSS.format("20b"),
                   experts=Experts(32, 4, 2880), window=128, windowed_layers=12),
        ModelShape("gpt-oss-120b", 36, 2880, 2880, 64, 8, 64, 201088, 131072, _GPT_OSS.format("120b"),
                   experts=Experts(128, 4, 2880), window=128, windowed_layers=18),
        ModelShape("deepseek-v3", 61, 7168, 18432, 128, 128, 128, 129280, 163840, _DEEPSEEK,
                   experts=Experts(256, 8, 2048, 2048, 3), latent=_MLA),
        ModelShape("kimi-k2", 61, 7168, 18432, 64, 64, 128, 163840, 131072, _KIMI,
                   experts=Experts(384, 8, 2048, 2048, 1), latent=_MLA),
        ModelShape("minimax-m2", 62, 3072, 1536, 48, 8, 128, 200064, 196608, _MINIMAX, experts=Experts(256, 8, 1536)),
    )
}  # fmt: skip
