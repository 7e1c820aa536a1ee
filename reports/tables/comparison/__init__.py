"""Tables 3 to 5 and those of any other grid of methods: a row or column a method, its scores, and what they cost."""
