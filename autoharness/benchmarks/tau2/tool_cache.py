"""A cache of tools and their schemas: tau2 builds two pydantic models for each tool of each environment, and a schema
at every LLM call."""

import copy
import pickle
from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary


def install(toolkit_module: Any, tool_class: Any) -> None:
    """Make `toolkit_module.as_tool` and `tool_class.openai_schema` cache their results. Once for each process."""
    if hasattr(toolkit_module.as_tool, "__wrapped__"):
        return
    as_tool_in, schema_in = toolkit_module.as_tool, tool_class.openai_schema.fget
    tools: dict[Any, Any] = {}
    schemas: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()

    @wraps(as_tool_in)
    def as_tool(func: Callable[..., Any], **predefined: Any) -> Any:
        function = getattr(func, "__func__", None)
        if function is None or predefined:
            return as_tool_in(func, **predefined)
        if function not in tools:
            tools[function] = as_tool_in(func)
        tool = copy.copy(tools[function])
        tool._func = func
        return tool

    @wraps(schema_in)
    def openai_schema(self: Any) -> Any:
        """A copy: client libraries change what they send."""
        if self.params not in schemas:
            schemas[self.params] = pickle.dumps(schema_in(self))
        return pickle.loads(schemas[self.params])

    toolkit_module.as_tool = as_tool
    tool_class.openai_schema = property(openai_schema)
