"""What every section of the parameters is: a frozen pydantic model that refuses unknown fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Section(BaseModel):
    """Base of all parameter sections: unknown fields are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Defaults are told in words and not as values: a form (Prefect's UI) sends every value that it is
        given, which would override what the chosen preset says.
        """
        schema = handler.resolve_ref_schema(handler(core))
        for name, field in schema.get("properties", {}).items():
            if name != "preset" and "default" in field:
                default = field.pop("default")
                field["description"] = (
                    f"{field.get('description', '')} Unless the preset says otherwise: {default!r}.".strip()
                )
        return schema
