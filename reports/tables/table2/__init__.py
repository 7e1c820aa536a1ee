"""Table 2 and Figures 4 to 6: what Mirror U-Net's versions gain from which shared layers."""
