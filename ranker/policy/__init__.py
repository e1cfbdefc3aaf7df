"""The contract with the model: what it is asked, how its answer is read, what the answer earns. Pure."""
