"""A finished run opened again: scored anew, without a modality, on other cases, for pictures."""
