"""Refusals are told apart by what servers really say: their own words, from their code or public reports."""

import pytest

from autoharness.llm.refusals import context_figures, says_filtered, says_too_long

TOO_LONG = {
    "llama.cpp": (400, "request (1407 tokens) exceeds the available context size (256 tokens), try increasing it"),
    "llama.cpp-older": (500, "the request exceeds the available context size. try increasing the context size"),
    "llama.cpp-type": (400, '{"code": 400, "message": "no", "type": "exceed_context_size_error", "n_ctx": 256}'),
    "llama.cpp-midway": (500, "Context size has been exceeded."),
    "llama-cpp-python": (400, "Requested tokens (516) exceed context window of 512"),
    "lm-studio": (
        400,
        "Trying to keep the first 15857 tokens when context the overflows. However, the model is loaded with context "
        "length of only 4096 tokens, which is not enough. Try to load the model with a larger context length",
    ),
    "lm-studio-keep": (
        400,
        "The number of tokens to keep from the initial prompt is greater than the context length.",
    ),
    "lm-studio-mlx": (400, "Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)"),
    "vllm": (400, "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens"),
    "vllm-decoder": (400, "The decoder prompt (length 9000) is longer than the maximum model length of 8192."),
    "vllm-passed": (400, "You passed 9 input tokens. However, the model's context length is only 8 tokens"),
    "vllm-max-tokens": (
        400,
        "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length is 4096 "
        "tokens and your request has 2104 input tokens (2000 > 4096 - 2104).",
    ),
    "sglang": (400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
    "sglang-total": (400, "Requested token count exceeds the model's maximum context length of 4096 tokens."),
    "sglang-length": (400, "Input length (265330) exceeds model's maximum context length (262144)."),
    "anthropic": (400, "prompt is too long: 213462 tokens > 200000 maximum"),
    "anthropic-sum": (400, "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000"),
    "anthropic-413": (413, "Request exceeds the maximum size"),
    "bedrock": (400, "Input is too long for requested model."),
    "bedrock-count": (400, "Too many input tokens. Max input tokens: 8192, request input token count: 9050"),
    "bedrock-nova": (400, "Input Tokens Exceeded: Number of input tokens exceeds maximum length."),
    "gemini": (400, "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575)."),
    "vertex": (400, "Unable to submit request because the input token count is 9 but model only supports up to 8."),
    "openai": (400, "Your input exceeds the context window of this model. Please adjust your input and try again."),
    "openai-code": (400, '{"message": "no", "code": "context_length_exceeded"}'),
    "openai-limit": (
        400,
        "Input tokens exceed the configured limit of 272000 tokens. Your messages are 9.",
    ),
    "openai-messages": (
        400,
        "Invalid 'messages[3].content': string too long. Expected a string with at most 9",
    ),
    "mistral": (
        400,
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum",
    ),
    "cohere": (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000."),
    "cohere-size": (400, "size limit exceeded by 1234 tokens. Try using shorter or fewer inputs."),
    "openrouter": (
        400,
        "This endpoint's maximum context length is 131072 tokens. However, you requested 132463",
    ),
    "openrouter-200": (200, '{"error": {"code": 400, "message": "This endpoint\'s maximum context length is 10"}}'),
    "groq": (400, "Please reduce the length of the messages or completion."),
    "cerebras": (400, "Please reduce the length of the messages or completion. Current length is 9 while limit is 8"),
    "tgi": (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 and 200"),
    "tgi-inputs": (422, "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000"),
    "ollama": (400, "prompt too long; exceeded max context length by 4 tokens"),
    "ollama-input": (500, "the input length exceeds the context length"),
    "xai": (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens"),
    "copilot": (400, "prompt token count of 5000 exceeds the limit of 4096"),
    "minimax": (400, "invalid params, context window exceeds limit"),
    "kimi": (400, "Invalid request: Your request exceeded model token limit: 262144 (requested: 300000)"),
    "zhipu": (400, "Prompt 超长"),
    "dashscope": (400, "InternalError.Algo.InvalidParameter: Range of input length should be [1, 202745]"),
    "tensorrt": (400, "Prompt length (5000) exceeds maximum input length (4096)."),
    "watsonx": (400, "the number of input tokens 8193 cannot exceed the total tokens limit 8192 for this model"),
    "fireworks": (400, "The prompt is too long: 140000, model maximum context length: 131071"),
    "github": (413, "Request body too large for gpt-4o model. Max size: 8000 tokens."),
    "nginx": (413, "<html><title>413 Request Entity Too Large</title></html>"),
    "litellm-proxy": (400, "litellm.ContextWindowExceededError: litellm.BadRequestError: no"),
    "tokens-per-minute": (429, "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000"),
    # not seen anywhere, of the same kind
    "new-conversation": (400, "The conversation is too long for this deployment"),
    "new-session": (400, "prompt of 9000 tokens is over the context window (8192)"),
    "new-history": (500, "chat history too large: 40960 > 32768"),
    "new-tokens": (422, "input has 9000 tokens, more than the 8192 that fit"),
    "new-window": (200, "Your messages overflow the model's context window"),
    "new-than": (400, "The total number of tokens (9000) is larger than the context of the model (8192)"),
    "new-32k": (400, "Conversation history exceeds 32k tokens"),
    "new-length": (422, "Value error, prompt exceeds maximum allowed length"),
    "new-sequence": (400, "sequence length 9000 exceeds max_seq_len 8192"),
    "new-cache": (500, "KV cache is full: prompt of 8200 tokens does not fit into n_ctx 8192"),
    "new-max": (400, "number of prompt tokens (9000) must be at most max_model_len"),
}

NOT_TOO_LONG = {
    "tokens-per-minute": (429, "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Requested 900"),
    "anthropic-rate": (
        429,
        "This request would exceed the rate limit of 40,000 input tokens per minute",
    ),
    "rate-in-a-400": (400, "request exceeds the limit of input tokens per minute"),
    "max-tokens": (400, "max_tokens must be at most 8192"),
    "max-tokens-openai": (
        400,
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas you provided "
        "100000.",
    ),
    "max-tokens-anthropic": (400, "max_tokens: 9 > 8, which is the maximum allowed number of output tokens for it"),
    "max-tokens-deepseek": (400, "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"),
    "max-tokens-dashscope": (400, "Range of max_tokens should be [1, 8192]"),
    "credits": (402, "This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens"),
    "billing": (400, "Your credit balance is too low: it would exceed the billing limit for input tokens"),
    "quota": (400, "You exceeded your current quota of input tokens"),
    "deadline": (504, "context deadline exceeded"),
    "cancelled": (500, "context canceled"),
    "timeout": (400, "timeout too long: must be at most 600"),
    "took-too-long": (504, "the upstream took too long to process the input"),
    "local-timeout": (408, "no answer within 300 s (llm_timeout_s)"),
    "image": (400, "image exceeds 5 MB maximum: 6291456 bytes > 5242880 bytes"),
    "image-input": (400, "messages.0.content.1: image input is too large"),
    "tool-name": (
        400,
        "litellm.ContextWindowExceededError: Invalid 'tools[0].function.name': string too long. Expected a string "
        "with maximum length 64, but got a string with length 70 instead.",
    ),
    "tool-name-anthropic": (400, "tools.0.custom.name: String should have at most 128 characters"),
    "user-field": (400, "Invalid 'user': string too long. Expected a string with maximum length 64"),
    "tools": (400, "Invalid 'tools': array too long. Expected an array with maximum length 128"),
    "call-id": (400, "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with at most 40"),
    "message-name": (400, "Invalid 'messages[2].name': string too long. Expected a string with maximum length 64"),
    "item-id": (400, "Invalid 'input[2].id': string too long. Expected a string with maximum length 64"),
    "number-of-tools": (400, "The number of function tools exceeds the maximum of 128"),
    "server-setting": (500, "context size must be divisible by n_parallel"),
    "reset": (503, "upstream connect error or disconnect/reset before headers. reset reason: overflow"),
    "tool-results": (400, "messages.3: `tool_use` ids were found without `tool_result` blocks in the next message"),
    "thinking-block": (
        400,
        "When `thinking` is enabled, a final message must start with a thinking block",
    ),
    "temperature": (400, "temperature must be less than or equal to 2"),
    "thinking": (400, "`max_tokens` must be greater than `thinking.budget_tokens`"),
    "stop": (400, "too many stop sequences: at most 4"),
    "connections": (429, "Number of concurrent connections has exceeded your rate limit"),
    "overloaded": (529, "Overloaded"),
    "no-model": (404, "The model `gpt-9` does not exist or you do not have access to it."),
    "busy": (503, "The model's queue is full, try again later"),
    "oom": (500, "CUDA out of memory. Tried to allocate 2.00 GiB"),
    "key": (401, "prompt is too long"),
    "schema": (400, "Invalid schema for response_format: exceeds limit of 5 levels of nesting"),
    "roles": (400, "messages: roles must alternate between user and assistant"),
    "tool-messages": (400, "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."),
    "description": (400, "Invalid input: tool description exceeds the maximum length of 1024 characters"),
    "no-completion": (0, "not a chat completion: {'hello': 'world'}"),
    "unreachable": (500, "Connection error."),
}

FILTERED = {
    "azure": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "azure-code": '{"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}',
    "litellm": "litellm.ContentPolicyViolationError: no",
    "openai": "Your request was rejected as a result of our safety system.",
    "openai-prompt": "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
    "openrouter": 'Your chosen model requires moderation and your input was flagged for "violence"',
    "dashscope": "InternalError.Algo.DataInspectionFailed: Input text data may contain inappropriate content.",
    "deepseek": "Content Exists Risk",
    "zhipu": "系统检测到输入或生成内容可能包含不安全或敏感内容",
    "gemini": "SAFETY",
    "gemini-prohibited": "PROHIBITED_CONTENT",
    "bedrock": "GUARDRAIL_INTERVENED",
    "finish-reason": "content_filter",
}

NOT_FILTERED = {
    "stop": "stop",
    "length": "length",
    "calls": "tool_calls",
    "error": "error",
    "bad-argument": "temperature must be at most 2",
    "no-tools": "model has no tools",
    "too-long": "prompt is too long: 213462 tokens > 200000 maximum",
}


@pytest.mark.parametrize(("status", "text"), TOO_LONG.values(), ids=TOO_LONG)
def test_a_conversation_beyond_the_context_is_recognised(status: int, text: str) -> None:
    assert says_too_long(status, text)
    assert not says_filtered(400, text)


@pytest.mark.parametrize(("status", "text"), NOT_TOO_LONG.values(), ids=NOT_TOO_LONG)
def test_what_only_sounds_like_it_is_not(status: int, text: str) -> None:
    assert not says_too_long(status, text)
    assert not says_filtered(status, text)


def test_of_a_huge_error_only_the_beginning_is_read() -> None:
    """Reading takes longer than in proportion to the text."""
    for says in (says_too_long, says_filtered):
        words = "prompt is too long" if says is says_too_long else "content_filter"
        assert says(400, "x " * 9_000 + words) and not says(400, "x " * 10_000 + words)


@pytest.mark.parametrize("text", FILTERED.values(), ids=FILTERED)
def test_a_content_filter_is_recognised(text: str) -> None:
    assert says_filtered(400, text)
    assert not says_too_long(400, text)


@pytest.mark.parametrize("text", NOT_FILTERED.values(), ids=NOT_FILTERED)
def test_what_is_no_content_filter_is_not_taken_for_one(text: str) -> None:
    assert not says_filtered(400, text)


FIGURES = {
    "llama.cpp": ("request (1900 tokens) exceeds the available context size (1024 tokens)", "1024", "1900"),
    "llama.cpp-body": ('{"code": 400, "message": "no", "n_prompt_tokens": 1900, "n_ctx": 1024}', "1024", "1900"),
    "vllm": ("maximum context length is 4096 tokens. However, you requested 5000 tokens (4800 in", "4096", "5000"),
    "vllm-decoder": ("prompt (length 9000) is longer than the maximum model length of 8192", "8192", "9000"),
    "sglang": ("Input length (265330) exceeds model's maximum context length (262144).", "262144", "265330"),
    "anthropic": ("prompt is too long: 213462 tokens > 200000 maximum", "200000", "213462"),
    "gemini": (
        "input token count (1,200,000) exceeds the maximum number of tokens allowed (1048576)",
        "1048576",
        "1200000",
    ),
    "none": ("the request exceeds the available context size", "", ""),
    "one": ("This model's maximum context length is 4096 tokens", "", ""),
    "fits": ("maximum context length is 4096 tokens and your request has 3000 input tokens", "", ""),
}


@pytest.mark.parametrize(("said", "takes", "needs"), FIGURES.values(), ids=FIGURES)
def test_a_context_is_told_in_figures_if_the_server_gives_them(said: str, takes: str, needs: str) -> None:
    told = f"it takes {takes} tokens for each conversation, and this needs {needs}" if takes else ""
    assert context_figures(said) == told
