"""Claims of a paper in a form that a program can test: their language, their tests on printed and on own numbers."""
