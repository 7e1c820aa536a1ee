"""Where pilots get their places: one module a batch system. A file of orders goes in, job ids come out."""
