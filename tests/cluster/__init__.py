"""An install against a real API server (tests/setup/cluster.sh); not part of `make test`, which must stay quick."""
