"""A server on loopback that coding agents take for their provider: it has them run shell commands, one after another.

It speaks four protocols, each as far as a headless coding agent asks: OpenAI's chat completions (mini, opencode,
aider) and responses (codex), Anthropic's messages (claude), Google's generateContent (gemini). How far a conversation
has got is counted from the tool results in the request, so that several may go on at once.
"""

import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Json = dict[str, Any]
PROMPT_TOKENS, COMPLETION_TOKENS = 1000, 50
"""Tokens of every answer."""
_KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key")
_SHELLS = ("bash", "Bash", "exec_command", "shell_command", "run_shell_command")


class CodingAgentServer:
    """`commands`: what the agent's shell is to run; then it is told `text`. `status`: HTTP's, where it refuses."""

    def __init__(self, commands: Sequence[str], text: str = "Done.", status: int = 200) -> None:
        self.commands, self.text, self.status = list(commands), text, status
        self.requests: list[Json] = []
        self.keys: list[str] = []
        self._numbers = itertools.count(1)
        handler = type("Handler", (_Handler,), {"script": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def turn(self, done: int, tools: Sequence[str]) -> tuple[str, str, Json] | None:
        """Id, tool and arguments of the next call; None where the conversation is over."""
        shell = next((name for name in _SHELLS if name in tools), None)
        if shell is None or done >= len(self.commands):
            return None
        argument = "cmd" if shell == "exec_command" else "command"
        return f"call_{next(self._numbers)}", shell, {argument: self.commands[done], "description": "one step"}


class _Handler(BaseHTTPRequestHandler):
    script: CodingAgentServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._json({"error": {"message": "not here"}}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        self.script.requests.append(body)
        self.script.keys += [value for name, value in self.headers.items() if name.lower() in _KEY_HEADERS]
        if self.script.status != 200:
            self._json({"type": "error", "error": {"message": "scripted", "type": "scripted"}}, self.script.status)
        elif "/messages" in self.path:
            self._anthropic(body)
        elif self.path.partition("?")[0].endswith("/responses"):
            self._responses(body)
        elif "chat/completions" in self.path:
            self._chat(body)
        elif "enerateContent" in self.path:
            self._gemini(body)
        else:
            self._json({"error": {"message": "not here"}}, 404)

    def _chat(self, body: Json) -> None:
        tools = [tool["function"]["name"] for tool in body.get("tools") or []]
        turn = self.script.turn(sum(one["role"] == "tool" for one in body["messages"]), tools)
        message: Json = {"role": "assistant", "content": self.script.text}
        if turn:
            function = {"name": turn[1], "arguments": json.dumps(turn[2])}
            calls = [{"index": 0, "id": turn[0], "type": "function", "function": function}]
            message = {"role": "assistant", "content": None, "tool_calls": calls}
        reason = "tool_calls" if turn else "stop"
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS}
        usage["total_tokens"] = sum(usage.values())
        head = {"id": "chat", "created": 1, "model": body["model"]}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason}
            self._json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        deltas = ({"delta": message, "finish_reason": None}, {"delta": {}, "finish_reason": reason})
        chunks = [{**head, "object": "chat.completion.chunk", "choices": [{"index": 0, **one}]} for one in deltas]
        self._events([*chunks, {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}], "[DONE]")

    def _anthropic(self, body: Json) -> None:
        blocks = [block for one in body["messages"] if isinstance(one["content"], list) for block in one["content"]]
        tools = [tool["name"] for tool in body.get("tools") or []]
        turn = self.script.turn(sum(block.get("type") == "tool_result" for block in blocks), tools)
        block: Json = {"type": "text", "text": self.script.text}
        if turn:
            block = {"type": "tool_use", "id": turn[0], "name": turn[1], "input": turn[2]}
        stop = "tool_use" if turn else "end_turn"
        usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": COMPLETION_TOKENS}
        message: Json = {"id": "msg", "type": "message", "role": "assistant", "model": body["model"], "usage": usage}
        if not body.get("stream"):
            self._json({**message, "content": [block], "stop_reason": stop, "stop_sequence": None})
            return
        empty = {**block, "input": {}} if turn else {**block, "text": ""}
        delta: Json = {"type": "text_delta", "text": self.script.text}
        if turn:
            delta = {"type": "input_json_delta", "partial_json": json.dumps(turn[2])}
        start = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
        end = {"stop_reason": stop, "stop_sequence": None}
        self._events(
            [
                {"type": "message_start", "message": start},
                {"type": "content_block_start", "index": 0, "content_block": empty},
                {"type": "content_block_delta", "index": 0, "delta": delta},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": end, "usage": {"output_tokens": COMPLETION_TOKENS}},
                {"type": "message_stop"},
            ]
        )

    def _responses(self, body: Json) -> None:
        tools = {tool.get("name") or tool["type"]: tool["type"] for tool in body.get("tools") or []}
        items = body["input"] if isinstance(body["input"], list) else []
        done = sum(str(item.get("type")).endswith("_output") for item in items)
        turn = self.script.turn(done, [*tools, "exec_command"] if "exec" in tools else list(tools))
        item: Json = {"type": "message", "id": "msg", "role": "assistant", "status": "completed"}
        item["content"] = [{"type": "output_text", "text": self.script.text, "annotations": []}]
        if turn and turn[1] in tools:
            arguments = json.dumps(turn[2])
            item = {"type": "function_call", "id": f"fc_{turn[0]}", "call_id": turn[0], "name": turn[1]}
            item |= {"arguments": arguments, "status": "completed"}
        elif turn:  # it offers a small programming language, in which the shell is a function
            program = f"const r = await tools.exec_command({json.dumps({'cmd': turn[2]['cmd']})}); text(r);"
            item = {"type": "custom_tool_call", "id": f"ctc_{turn[0]}", "call_id": turn[0], "name": "exec"}
            item |= {"input": program, "status": "completed"}
        usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": COMPLETION_TOKENS}
        usage["total_tokens"] = sum(usage.values())
        response: Json = {"id": "resp", "object": "response", "created_at": 1, "model": body["model"]}
        end = {**response, "status": "completed", "output": [item], "usage": usage}
        self._events(
            [
                {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
                {"type": "response.output_item.added", "output_index": 0, "item": item},
                {"type": "response.output_item.done", "output_index": 0, "item": item},
                {"type": "response.completed", "response": end},
            ]
        )

    def _gemini(self, body: Json) -> None:
        groups = [tool.get("functionDeclarations", []) for tool in body.get("tools") or []]
        parts = [part for content in body["contents"] for part in content.get("parts", [])]
        done = sum("functionResponse" in part for part in parts)
        turn = self.script.turn(done, [tool["name"] for group in groups for tool in group])
        part: Json = {"functionCall": {"name": turn[1], "args": turn[2]}} if turn else {"text": self.script.text}
        counts = {"promptTokenCount": PROMPT_TOKENS, "candidatesTokenCount": COMPLETION_TOKENS}
        counts["totalTokenCount"] = sum(counts.values())
        candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
        answer = {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "scripted"}
        self._events([answer]) if "stream" in self.path else self._json(answer)

    def _json(self, value: Json, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _events(self, values: Sequence[Json], last: str = "") -> None:
        content = "".join(_lines(values)) + (f"data: {last}\n\n" if last else "")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(content.encode())))
        self.end_headers()
        self.wfile.write(content.encode())


def _lines(values: Sequence[Json]) -> Iterator[str]:
    for value in values:
        event = f"event: {value['type']}\n" if "type" in value else ""
        yield f"{event}data: {json.dumps(value)}\n\n"
