"""Kubernetes itself, without Feast: objects, schemas and their rules, kustomizations, YAML."""
