"""The application class: APIFlask, with each shape named once in the OpenAPI document."""

from __future__ import annotations

from json import JSONDecodeError
from typing import Any

from apiflask import APIFlask, Schema
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import make_schema_key, resolve_schema_instance
from flask import Request

from microsite.core.exceptions import BadRequest, TypeNotAllowed


class JsonRequest(Request):
    """A request that says what is wrong with its JSON."""

    def on_json_loading_failed(self, e: ValueError | None) -> Any:
        """Raises BadRequest; TypeNotAllowed where the body does not even say that it is JSON."""
        if e is None:
            raise TypeNotAllowed(
                f"This takes application/json, not {self.mimetype or 'a body without a type'}."
            )
        if not isinstance(e, JSONDecodeError | UnicodeDecodeError):
            raise e
        where = f" (line {e.lineno}, column {e.colno})" if isinstance(e, JSONDecodeError) else ""
        raise BadRequest(f"The body is not valid JSON{where}.") from None


class Application(APIFlask):
    """APIFlask registers a schema again when it was met inside another one before; this one looks first."""

    request_class = JsonRequest

    def log_exception(self, exc_info: Any) -> None:
        """Flask's own would log the path, and with it the token of a link."""
        self.logger.error("an error outside the views", exc_info=exc_info)

    def _register_schema_and_get_ref(
        self, spec: Any, registered_schema_classes: dict[int, str], schema_obj: Any
    ) -> Any:
        if isinstance(schema_obj, Schema) or (
            isinstance(schema_obj, type) and issubclass(schema_obj, Schema)
        ):
            plugin = next(plugin for plugin in spec.plugins if isinstance(plugin, MarshmallowPlugin))
            assert plugin.converter is not None
            name = plugin.converter.refs.get(make_schema_key(resolve_schema_instance(schema_obj)))
            if name:
                return {"$ref": f"#/components/schemas/{name}"}
        return super()._register_schema_and_get_ref(spec, registered_schema_classes, schema_obj)
