"""The questions: one YAML per study, and the little code that reads them."""
