"""Air-gapped bundle builder for the Feast feature store on Kubernetes."""

__version__ = "0.1.0"
