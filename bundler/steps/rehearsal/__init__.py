"""A rehearsal: the pods of a bundle played on a container engine without a network, before any cluster sees them.

``source`` is where its images and manifests come from, ``script`` reads the manifests as the operator and a site would,
``cast`` brings images into the engine, ``roles`` says which pod each FeatureStore becomes, ``stage`` runs pods and the
servers of ``stores`` beside them, ``act`` plays one pod, and ``read_back`` compares what is served with what was
materialized.
"""
