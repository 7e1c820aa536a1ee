"""A finished run opened again: scored again, without a modality, on other cases, for pictures."""
