"""The answers: tables and figures from finished runs."""
