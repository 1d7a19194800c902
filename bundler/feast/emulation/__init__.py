"""What the operator and the kubelet make of a FeatureStore: its pods, so that a rehearsal can run them."""
