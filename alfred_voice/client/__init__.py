"""A small client of the native protocol, for the command line, the benchmarks and other programs."""
