"""What every section does."""

from __future__ import annotations

from ranker.config import RetrainParams


def test_a_form_never_gets_values_that_would_override_a_preset():
    schema = RetrainParams.model_json_schema()
    for definition in [schema, *schema["$defs"].values()]:
        for name, field in definition.get("properties", {}).items():
            assert name == "preset" or "default" not in field
    assert "required" not in schema
