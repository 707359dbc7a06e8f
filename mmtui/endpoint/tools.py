"""Tool calls and results of tools in a response, as text. They are shown, and never executed."""

import json
from typing import Any

CALL_NOTE = "the model calls a tool instead of answering"
NO_TOOLS_HINT = "mmtui shows calls of tools, and executes none"


class ToolText:
    """Turns the parts of tool calls and results into text, with each call and result on a line.

    A server sends calls that it leaves to the client, and those that it has executed itself, with
    their results as messages of the role "tool".
    """

    def __init__(self) -> None:
        self._call: tuple[object, object] | None = None  # index and id of the latest call
        self._is_result = False
        self._has_text = False

    def add_calls(self, message: dict[str, Any]) -> str:
        """Return the next piece of the text for the tool calls in a part of a response."""
        found = message.get("tool_calls")
        calls = [*found] if isinstance(found, list) else []
        if isinstance(function := message.get("function_call"), dict):  # the protocol of 2023
            calls.append({"function": function})
        return "".join(
            self._add_call(at, call) for at, call in enumerate(calls) if isinstance(call, dict)
        )

    def add_result(self, text: str) -> str:
        """Return the next piece of the text for the result of a tool."""
        if not text:
            return ""
        start = "" if self._is_result else self._start_line("-> ")
        self._is_result, self._call = True, None
        return start + text

    def _add_call(self, position: int, call: dict[str, Any]) -> str:
        function = call.get("function")
        if not isinstance(function, dict):
            return ""
        index, id = call.get("index", position), call.get("id")
        before_index, before_id = self._call or (None, None)
        text = ""
        if self._call is None or index != before_index or (id and id != before_id):
            name = function.get("name")
            text = self._start_line(f"{name if isinstance(name, str) else '?'} ")
            self._call, self._is_result = (index, id), False
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        return text + (arguments or "")

    def _start_line(self, start: str) -> str:
        """Return the start of a line, after the end of the one before."""
        end = "\n" if self._has_text else ""
        self._has_text = True
        return end + start
