"""What is refused or advised: combinations that an operator, Kubernetes or Feast would accept but not run."""
