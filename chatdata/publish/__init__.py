"""A version of a dataset on the Hub: push, pull, doctor."""
