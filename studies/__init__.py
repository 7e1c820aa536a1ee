"""The questions: one YAML file a grid or a search, profiles, and claims. `benchmark.planning` reads them."""
