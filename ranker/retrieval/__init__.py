"""First stages: rankers that need no language model."""
