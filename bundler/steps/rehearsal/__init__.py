"""A rehearsal: the pods of a bundle run on a container engine without a network, before any cluster sees them.

``inputs`` are where images and manifests come from, ``filled_manifests`` reads the manifests as the operator and a site
would, ``engine_images`` loads images into the engine, ``feature_stores`` says which pod each FeatureStore becomes,
``routes`` and ``pod_network`` join pods by their Services, ``emulated_cluster`` runs pods and the store servers of
``store_containers``, ``pod_runner`` takes one pod through its checks, and ``read_back`` compares what is served with
what was materialized.
"""
