"""Tables 3 and 4: one row or column a method, its scores, and what they cost."""
