"""`trt_llm` and `bis_llm`: settings of engines that one vendor's platform runs.

Their keys are listed where the vendor's format lists them, so that mistakes are found before a deployment;
what the vendor's build service alone can judge is not judged here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from truss.config.schema.section import POSITIVE, Complaint, Section, doc


class CheckpointRepository(Section, frozen=True, kw_only=True):
    """Where an engine's weights come from."""

    source: Annotated[
        Literal["HF", "GCS", "S3", "AZURE", "LOCAL", "REMOTE_URL", "BASETEN_TRAINING"],
        doc("The kind of store."),
    ]
    repo: Annotated[str, doc("The repository, bucket or address.")]
    revision: Annotated[str | None, doc("A revision of it.")] = None
    runtime_secret_name: Annotated[str, doc("The secret that opens it.")] = "hf_access_token"


class QuantizationConfig(Section, frozen=True, kw_only=True):
    """`trt_llm.build.quantization_config`."""

    calib_size: Annotated[int, doc("Size of the calibration set: a multiple of 64, up to 16384.")] = 1024
    calib_dataset: Annotated[str, doc("The calibration set.")] = "abisee/cnn_dailymail"
    calib_max_seq_length: Annotated[int, doc("Longest sequence in it: a multiple of 64, up to 16384.")] = 1536

    def complaints(self) -> Iterator[Complaint]:
        """Both sizes are multiples of 64."""
        for key in ("calib_size", "calib_max_seq_length"):
            value = getattr(self, key)
            if not 64 <= value <= 16384 or value % 64:
                yield Complaint(key, f"cannot be {value}", "a multiple of 64 between 64 and 16384")


class PluginConfiguration(Section, frozen=True, kw_only=True):
    """`trt_llm.build.plugin_configuration`."""

    paged_kv_cache: Annotated[bool, doc("Keep the key-value cache in pages.")] = True
    use_paged_context_fmha: Annotated[bool, doc("Use paged attention for the context.")] = True
    use_fp8_context_fmha: Annotated[bool, doc("Use FP8 attention for the context.")] = False


class LoraConfiguration(Section, frozen=True, kw_only=True):
    """`trt_llm.build.lora_configuration`."""

    max_lora_rank: Annotated[int, doc("The largest rank of an adapter.")] = 64
    lora_target_modules: Annotated[list[str], doc("The modules that adapters change.")] = []


class EngineRuntime(Section, frozen=True, kw_only=True):
    """`trt_llm.runtime`, the keys of both inference stacks."""

    kv_cache_free_gpu_mem_fraction: Annotated[float, doc("Part of the free GPU memory for the cache.")] = 0.9
    kv_cache_host_memory_bytes: Annotated[
        Annotated[int, POSITIVE] | None, doc("Main memory for the cache, in bytes.")
    ] = None
    lora_cache_max_adapter_size: Annotated[
        Annotated[int, POSITIVE] | None, doc("The largest rank that the adapter cache takes.")
    ] = None
    lora_cache_optimal_adapter_size: Annotated[
        Annotated[int, POSITIVE] | None, doc("The rank that the adapter cache is laid out for.")
    ] = None
    lora_cache_gpu_memory_fraction: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=1)] | None, doc("Part of the GPU memory for adapters.")
    ] = None
    lora_cache_host_memory_bytes: Annotated[
        Annotated[int, POSITIVE] | None, doc("Main memory for adapters, in bytes.")
    ] = None
    enable_chunked_context: Annotated[bool, doc("Process long inputs in pieces (stack v1).")] = True
    enable_chunked_prefill: Annotated[bool, doc("Process long inputs in pieces (stack v2).")] = True
    batch_scheduler_policy: Annotated[
        Literal["max_utilization", "guaranteed_no_evict"], doc("Which requests run together.")
    ] = "guaranteed_no_evict"
    request_default_max_tokens: Annotated[
        Annotated[int, POSITIVE] | None, doc("Tokens generated for a request that does not say.")
    ] = None
    served_model_name: Annotated[str | None, doc("The model's name in answers.")] = None
    total_token_limit: Annotated[int, doc("Tokens that the engine schedules at one time.")] = 500000
    webserver_default_route: Annotated[
        Literal["/v1/embeddings", "/v1/systemone", "/rerank", "/predict", "/predict_tokens"] | None,
        doc("The route of an embedding model."),
    ] = None
    max_seq_len: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1048576)] | None, doc("The longest sequence (stack v2).")
    ] = None
    max_batch_size: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=2048)], doc("Requests in one pass (stack v2).")
    ] = 256
    max_num_tokens: Annotated[
        Annotated[int, msgspec.Meta(gt=64, le=131072)], doc("Tokens in one pass (stack v2).")
    ] = 8192
    tensor_parallel_size: Annotated[Annotated[int, POSITIVE], doc("GPUs per copy (stack v2).")] = 1
    patch_kwargs: Annotated[dict[str, Any], doc("More settings for the engine (stack v2).")] = {}


class Speculator(Section, frozen=True, kw_only=True):
    """`trt_llm.build.speculator`."""

    speculative_decoding_mode: Annotated[
        Literal["DRAFT_TOKENS_EXTERNAL", "LOOKAHEAD_DECODING"], doc("How tokens are guessed ahead.")
    ] = "DRAFT_TOKENS_EXTERNAL"
    num_draft_tokens: Annotated[Annotated[int, POSITIVE] | None, doc("Tokens guessed at one time.")] = None
    checkpoint_repository: Annotated[CheckpointRepository | None, doc("The model that guesses.")] = None
    runtime: Annotated[EngineRuntime, doc("How the guessing model runs.")] = msgspec.field(
        default_factory=EngineRuntime
    )
    build: Annotated[dict[str, Any] | None, doc("How the guessing model is built; as `trt_llm.build`.")] = (
        None
    )
    lookahead_windows_size: Annotated[Annotated[int, POSITIVE] | None, doc("Lookahead: window size.")] = None
    lookahead_ngram_size: Annotated[Annotated[int, POSITIVE] | None, doc("Lookahead: n-gram size.")] = None
    lookahead_verification_set_size: Annotated[
        Annotated[int, POSITIVE] | None, doc("Lookahead: verification set size.")
    ] = None
    enable_b10_lookahead: Annotated[bool | None, doc("Lookahead: the vendor's own variant.")] = False


class EngineBuild(Section, frozen=True, kw_only=True):
    """`trt_llm.build`."""

    base_model: Annotated[
        Literal[
            "encoder", "encoder_bert", "decoder", "palmyra", "qwen", "llama", "mistral", "deepseek", "whisper"
        ],
        doc("The kind of model."),
    ] = "decoder"
    max_seq_len: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1048576)] | None, doc("The longest sequence.")
    ] = None
    max_batch_size: Annotated[Annotated[int, msgspec.Meta(ge=1, le=2048)], doc("Requests in one pass.")] = 256
    max_num_tokens: Annotated[Annotated[int, msgspec.Meta(gt=64, le=1048576)], doc("Tokens in one pass.")] = (
        8192
    )
    max_beam_width: Annotated[Annotated[int, msgspec.Meta(ge=1, le=1)], doc("Beams; only 1.")] = 1
    max_prompt_embedding_table_size: Annotated[int, doc("Size of the prompt embedding table.")] = 0
    checkpoint_repository: Annotated[CheckpointRepository | None, doc("Where the weights are.")] = None
    gather_all_token_logits: Annotated[bool, doc("Keep the logits of every token.")] = False
    strongly_typed: Annotated[bool, doc("Keep the types of the weights as they are.")] = False
    quantization_type: Annotated[
        Literal[
            "no_quant",
            "weights_int8",
            "weights_kv_int8",
            "weights_int4",
            "weights_int4_kv_int8",
            "smooth_quant",
            "fp8",
            "fp8_kv",
            "fp8_mlp_only",
            "fp4",
            "fp4_kv",
            "fp4_mlp_only",
        ],
        doc("How weights are made smaller."),
    ] = "no_quant"
    quantization_config: Annotated[QuantizationConfig, doc("Calibration of it.")] = msgspec.field(
        default_factory=QuantizationConfig
    )
    tensor_parallel_count: Annotated[Annotated[int, POSITIVE], doc("GPUs per copy.")] = 1
    pipeline_parallel_count: Annotated[int, doc("Pipeline stages.")] = 1
    moe_expert_parallel_option: Annotated[int, doc("How experts are spread.")] = -1
    sequence_parallel_count: Annotated[int, doc("Sequence parallelism.")] = 1
    plugin_configuration: Annotated[PluginConfiguration, doc("Plugins of the engine.")] = msgspec.field(
        default_factory=PluginConfiguration
    )
    num_builder_gpus: Annotated[Annotated[int, POSITIVE] | None, doc("GPUs for the build.")] = None
    speculator: Annotated[Speculator | None, doc("Guessing tokens ahead.")] = None
    lora_adapters: Annotated[
        dict[str, CheckpointRepository] | None, doc("Adapters that are known at build time.")
    ] = None
    lora_configuration: Annotated[LoraConfiguration | None, doc("Limits of adapters.")] = None
    skip_build_result: Annotated[bool, doc("Use an engine that is provided otherwise (stack v2).")] = False


class EngineVersions(Section, frozen=True, kw_only=True):
    """`trt_llm.version_overrides`."""

    engine_builder_version: Annotated[str | None, doc("Version of the engine builder.")] = None
    briton_version: Annotated[str | None, doc("Version of the decoder server.")] = None
    bei_version: Annotated[str | None, doc("Version of the embedding server.")] = None
    bei_bert_version: Annotated[str | None, doc("Version of the BERT embedding server.")] = None
    v2_llm_version: Annotated[str | None, doc("Version of the server of stack v2.")] = None


class TrtLlm(Section, frozen=True, kw_only=True):
    """`trt_llm`."""

    build: Annotated[EngineBuild, doc("How the engine is built.")]
    inference_stack: Annotated[Literal["v1", "v2"], doc("The generation of the engine.")] = "v1"
    runtime: Annotated[EngineRuntime, doc("How the engine runs.")] = msgspec.field(
        default_factory=EngineRuntime
    )
    version_overrides: Annotated[EngineVersions, doc("Versions other than the current.")] = msgspec.field(
        default_factory=EngineVersions
    )


class BisLlm(Section, frozen=True, kw_only=True):
    """`bis_llm`."""

    config: Annotated[dict[str, Any] | None, doc("Settings of the deployment.")] = None
    version: Annotated[str, doc("Version of the stack.")] = ""
    additional_autoscaling_config: Annotated[
        dict[str, Any] | None, doc("Metrics to scale by: `{metrics: [{name, target}]}`.")
    ] = None
