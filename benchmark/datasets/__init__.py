"""Data sets by name: their readers, their preparation before a launch, their conversion to nnU-Net's layout."""
