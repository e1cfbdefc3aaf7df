"""What every table promises: one module a table with its suite as code; `gate.judge` runs them."""
